"""The head's texture: every feature is painted where the rig has it, and colours are free parameters."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline import assets
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.render.head_texture import REGIONS, SKIN_TONES, HeadTexture


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def painted() -> HeadTexture:
    return HeadTexture.load()


def material_at(rig: Rig, painted: HeadTexture, part: str, place_mm: tuple[float, float]) -> str:
    """The material painted on the frontmost triangle of a part near a place seen from the front."""
    of_part = (rig.part_of_triangle == rig.part_names.index(part)).nonzero()[:, 0]
    centres = 1000 * rig.rest[rig.triangles[of_part]].mean(1)
    distance = (centres[:, :2] - torch.tensor(place_mm)).norm(dim=-1)
    near = distance < 1.2 * distance[centres[:, 2] > 0].min() + 0.5
    there = of_part[near][centres[near, 2].argmax()]
    u, v = rig.uv[rig.uv_triangles[there]].mean(0).tolist()
    height, width = painted.detail.shape
    return REGIONS[int(painted.weights[:, int((1 - v) * height), int(u * width)].argmax())]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    "part, place, material",
    [
        ("skin", (30, 20), "brow"),
        ("skin", (0, 45), "skin"),
        ("skin", (8, -68), "lip"),
        ("skin", (20, 90), "hair"),
        ("skin", (0, -95), "skin"),
        ("eye_left", (29, 0), "pupil"),
        ("eye_left", (32.5, -1.5), "iris"),
        ("eye_left", (38, -1), "sclera"),
        ("lashes_lower_left", (30, -6), "skin"),
        ("tongue", (0, -65), "gum"),
    ],
)
def test_features_are_painted_where_the_head_has_them(
    rig: Rig, painted: HeadTexture, side: int, part: str, place: tuple[float, float], material: str
) -> None:
    if side < 0:
        part = part.replace("left", "right")
    assert material_at(rig, painted, part, (side * place[0], place[1])) == material


def test_the_texture_is_a_mixture_of_the_colours(painted: HeadTexture) -> None:
    total = painted.weights.to(torch.int64).sum(0)
    assert ((total - 255).abs() <= len(REGIONS) // 2).all()
    texture = painted()
    assert texture.shape == (1024, 1024, 4) and texture.min() >= 0 and texture.max() <= 1.2


def test_a_darker_skin_darkens_skin_and_lips_and_leaves_the_eyes(painted: HeadTexture) -> None:
    dark = HeadTexture.load(skin=SKIN_TONES["dark"])

    def mean(of: HeadTexture, material: str) -> Tensor:
        return of()[of.weights[REGIONS.index(material)] > 200][:, :3].mean()

    for material in ("skin", "lip"):
        assert mean(dark, material) < 0.5 * mean(painted, material)
    torch.testing.assert_close(mean(dark, "sclera"), mean(painted, "sclera"), rtol=0.02, atol=0)


def test_colours_can_be_differentiated(painted: HeadTexture) -> None:
    red = HeadTexture(painted.weights[:, ::64, ::64], painted.detail[::64, ::64])
    red.colours = red.colours.double().requires_grad_()
    gradient = torch.autograd.grad(red().sum(), red.colours)[0]
    step = torch.zeros_like(red.colours)
    step[REGIONS.index("skin"), 0] = 1e-3
    bumped = HeadTexture(red.weights, red.detail)
    bumped.colours = (red.colours + step).detach()
    difference = (bumped().sum() - red().sum()) / 1e-3
    torch.testing.assert_close(gradient[REGIONS.index("skin"), 0], difference.detach(), rtol=1e-6, atol=0)


def test_mistakes_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ChainRigError, match="no region eyebrow"):
        HeadTexture.load(eyebrow=(0, 0, 0))
    (tmp_path / "cut.npz").write_bytes(assets.path("albedo.npz").read_bytes()[:5000])
    with pytest.raises(ChainRigError, match="cut.npz cannot be read"):
        HeadTexture.load(tmp_path / "cut.npz")

"""The albedo: every feature is painted where the rig has it, and colours are free parameters."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline import assets
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.render.albedo import MATERIALS, SKIN_TONES, Albedo


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def albedo() -> Albedo:
    return Albedo.load()


def material_at(rig: Rig, albedo: Albedo, part: str, place_mm: tuple[float, float]) -> str:
    """The material painted on the frontmost triangle of a part near a place seen from the front."""
    of_part = (rig.part_of_triangle == rig.part_names.index(part)).nonzero()[:, 0]
    centres = 1000 * rig.rest[rig.triangles[of_part]].mean(1)
    distance = (centres[:, :2] - torch.tensor(place_mm)).norm(dim=-1)
    near = distance < 1.2 * distance[centres[:, 2] > 0].min() + 0.5
    there = of_part[near][centres[near, 2].argmax()]
    u, v = rig.uv[rig.uv_triangles[there]].mean(0).tolist()
    height, width = albedo.detail.shape
    return MATERIALS[int(albedo.weights[:, int((1 - v) * height), int(u * width)].argmax())]


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
    rig: Rig, albedo: Albedo, side: int, part: str, place: tuple[float, float], material: str
) -> None:
    if side < 0:
        part = part.replace("left", "right")
    assert material_at(rig, albedo, part, (side * place[0], place[1])) == material


def test_the_texture_is_a_mixture_of_the_colours(albedo: Albedo) -> None:
    total = albedo.weights.to(torch.int64).sum(0)
    assert ((total - 255).abs() <= len(MATERIALS) // 2).all()
    texture = albedo()
    assert texture.shape == (1024, 1024, 3) and texture.min() >= 0 and texture.max() <= 1.2


def test_a_darker_skin_darkens_skin_and_lips_and_leaves_the_eyes(albedo: Albedo) -> None:
    dark = Albedo.load(skin=SKIN_TONES["dark"])

    def mean(of: Albedo, material: str) -> Tensor:
        return of()[of.weights[MATERIALS.index(material)] > 200].mean()

    for material in ("skin", "lip"):
        assert mean(dark, material) < 0.5 * mean(albedo, material)
    torch.testing.assert_close(mean(dark, "sclera"), mean(albedo, "sclera"), rtol=0.02, atol=0)


def test_colours_can_be_differentiated(albedo: Albedo) -> None:
    red = Albedo(albedo.weights[:, ::64, ::64], albedo.detail[::64, ::64])
    red.colours = red.colours.double().requires_grad_()
    gradient = torch.autograd.grad(red().sum(), red.colours)[0]
    step = torch.zeros_like(red.colours)
    step[MATERIALS.index("skin"), 0] = 1e-3
    bumped = Albedo(red.weights, red.detail)
    bumped.colours = (red.colours + step).detach()
    difference = (bumped().sum() - red().sum()) / 1e-3
    torch.testing.assert_close(gradient[MATERIALS.index("skin"), 0], difference.detach(), rtol=1e-6, atol=0)


def test_mistakes_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ChainRigError, match="no material eyebrow"):
        Albedo.load(eyebrow=(0, 0, 0))
    (tmp_path / "cut.npz").write_bytes(assets.path("albedo.npz").read_bytes()[:5000])
    with pytest.raises(ChainRigError, match="cut.npz cannot be read"):
        Albedo.load(tmp_path / "cut.npz")

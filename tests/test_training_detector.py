"""The trained landmark network as a layer: its derivative, its decoding, its files, and what it finds."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from scenes import check_derivative, random
from torch import Tensor

from pipeline import assets
from pipeline.chain import build_renderer
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.detect.training import checkpoint, heatmap
from pipeline.detect.training.detector import HeatmapDetector
from pipeline.detect.training.network import HeatmapNetwork
from pipeline.errors import ChainRigError
from pipeline.layer import Pipeline
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material
from pipeline.target.faces import find_faces, settle
from pipeline.target.matches import shipped
from pipeline.target.photo import read_photo

PLACES = [match.points for match in shipped("ibug68", "mediapipe478") if match is not None]
WEIGHTS = assets.path("landmarks68_synthetic.safetensors")


@pytest.fixture(scope="module")
def trained() -> HeatmapDetector:
    return HeatmapDetector.load(WEIGHTS)


@pytest.fixture(scope="module")
def example() -> tuple[Tensor, Tensor]:
    """The crop of the example photo, and FaceMesh's 68 points in it."""
    photo = read_photo(assets.path("example.png"))
    found = settle(photo.srgb, find_faces(photo.pixels)[0], FaceMesh.load())
    mesh = found.region.map_to_crop(found.landmarks[:, :2])
    return found.region.crop(photo.srgb), torch.stack([mesh[list(place)].mean(0) for place in PLACES])


def small(seed: int = 0) -> HeatmapDetector:
    """An untrained network, a quarter as wide, whose heatmaps have peaks."""
    torch.manual_seed(seed)
    network = HeatmapNetwork((16, 24))
    torch.nn.init.normal_(network.head.weight, std=2.0)
    return HeatmapDetector(network)


def test_its_derivative_is_that_of_central_differences() -> None:
    detector, picture = small().double(), random(256, 256, 3, low=0.0, high=1.0)
    patch = random(3, 40, 40, seed=1)

    def points(strengths: Tensor) -> Tensor:
        spots = torch.einsum("k,kij->ij", strengths, patch)[..., None]
        return detector(picture + torch.nn.functional.pad(spots, (0, 0, 100, 116, 90, 126)))

    check_derivative(points, random(3, seed=2, low=-0.1, high=0.1))


def test_a_batch_is_a_loop_and_vmap_agrees() -> None:
    detector, crops = small().double(), random(2, 2, 256, 256, 3, low=0.0, high=1.0)
    one_by_one = torch.stack([torch.stack([detector(crop) for crop in row]) for row in crops])
    assert one_by_one.shape == (2, 2, 68, 2)
    assert (detector(crops) - one_by_one).abs().max() < 1e-9
    assert (torch.func.vmap(torch.func.vmap(detector))(crops) - one_by_one).abs().max() < 1e-9


def test_cold_soft_arg_max_is_the_hard_one() -> None:
    scores = random(4, 16, 16, seed=3)
    row, column = (
        scores.flatten(-2).argmax(-1).div(16, rounding_mode="floor"),
        scores.flatten(-2).argmax(-1) % 16,
    )
    hard = torch.stack([column, row], -1) + 0.5
    distance = [float((heatmap.decode(scores, t) - hard).norm(dim=-1).mean()) for t in (1.0, 0.1, 1e-5, 0.0)]
    assert distance[0] > distance[1] > distance[2] and distance[2] < 1e-3 and distance[3] == 0


@pytest.mark.parametrize("temperature", [1.0, 1e-3, 1e-30])
def test_a_flat_heatmap_points_to_its_middle_and_has_finite_gradients(temperature: float) -> None:
    flat = torch.full((16, 16), -7e3, requires_grad=True)
    point = heatmap.decode(flat, temperature)
    assert torch.allclose(point, torch.full((2,), 8.0))
    (gradient,) = torch.autograd.grad(point.sum() + heatmap.surprise(flat, torch.tensor([3.0, 40.0])), flat)
    assert gradient.isfinite().all()


def test_surprise_is_least_where_the_peak_is() -> None:
    wanted, scores = torch.tensor([5.3, 9.8]).double(), torch.zeros(16, 16).double().requires_grad_()
    for _ in range(300):
        (slope,) = torch.autograd.grad(heatmap.surprise(scores, wanted), scores)
        scores = (scores - 3 * slope).detach().requires_grad_()
    assert (heatmap.decode(scores) - wanted).abs().max() < 0.1


def test_the_shipped_network_agrees_with_facemesh_on_a_photo(
    trained: HeatmapDetector, example: tuple[Tensor, Tensor]
) -> None:
    crop, wanted = example
    error = 100 * (trained(crop) - wanted).norm(dim=-1) / (wanted[36] - wanted[45]).norm()
    assert error[17:].mean() < 8  # it has never seen a photo, nor hair that hangs


def test_the_shipped_points_move_with_the_picture(
    trained: HeatmapDetector, example: tuple[Tensor, Tensor]
) -> None:
    moved = trained(example[0].roll((-8, 12), (0, 1))) - trained(example[0])
    assert (moved[17:] - torch.tensor([12.0, -8.0])).abs().mean() < 2


def test_the_shipped_file_says_where_it_comes_from_and_is_small() -> None:
    _, about = checkpoint.read(WEIGHTS)
    assert about["data"] == ["synthetic"] and about["recipe"]["seed"] == 1 and about["recipe"]["steps"] > 0
    assert WEIGHTS.stat().st_size <= 6e6


def test_weights_survive_the_file(tmp_path: Path) -> None:
    detector, picture = small(), random(256, 256, 3, low=0.0, high=1.0).float()
    detector.save(tmp_path / "w.safetensors", {"recipe": {"seed": 3}})
    again = HeatmapDetector.load(tmp_path / "w.safetensors")
    assert (again(picture) - detector(picture)).abs().max() < 0.2  # half precision
    assert checkpoint.read(tmp_path / "w.safetensors")[1]["recipe"] == {"seed": 3}


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("exploded"),))


def test_bad_weights_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = WEIGHTS.read_bytes()
    files = {
        "cut.safetensors": whole[: len(whole) // 2],
        "noise.safetensors": bytes(range(256)) * 40,
        "pickle.safetensors": pickle.dumps(Bomb()),
        "empty.safetensors": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    save_file({"a": torch.zeros(1)}, tmp_path / "stranger.safetensors")
    about = {"about": json.dumps({"kind": "a cat detector"})}
    save_file({"a": torch.zeros(1)}, tmp_path / "cat.safetensors", about)
    tensors, said = checkpoint.read(WEIGHTS)
    checkpoint.write(tmp_path / "other.safetensors", tensors, {**said, "widths": [16, 24]})
    for name in (
        *files,
        "stranger.safetensors",
        "cat.safetensors",
        "other.safetensors",
        "missing.safetensors",
    ):
        with pytest.raises(ChainRigError) as told:
            HeatmapDetector.load(tmp_path / name)
        assert name in str(told.value) and "\n" not in str(told.value)
    assert not Path("exploded").exists()


def test_a_crop_of_another_size_is_refused(trained: HeatmapDetector) -> None:
    with pytest.raises(ChainRigError, match=r"\(\*B, 256, 256, 3\)"):
        trained(torch.zeros(128, 128, 3))


def test_a_fit_through_it_ends_near_what_it_read(trained: HeatmapDetector) -> None:
    """Gauss–Newton with the chain's own Jacobian finds pose and jaw of a render: deform, render, detect."""
    rig = Rig.load()
    region = Region(torch.tensor([128.0, 136.0]), torch.tensor(250.0), torch.tensor(0.0))
    camera = Camera(torch.tensor(1000.0), torch.tensor([128.0, 128.0]), region.crop_from_photo())
    chain = Pipeline([Deformer(rig), build_renderer(rig, camera, Material(HeadTexture.load()())), trained])
    names = ("jawOpen", "headRotationX", "headRotationY", "headTranslationX", "headTranslationY")
    free = [rig.controls.index(name) for name in names]
    rest = rig.controls.pack({"headTranslationZ": -1.0})

    def points(values: Tensor) -> Tensor:
        return chain(rest.index_add(0, torch.tensor(free), values))

    wanted = points(torch.tensor([0.4, 0.1, 0.2, 0.004, -0.003]))
    start = torch.zeros(len(names))
    found = start
    for _ in range(6):
        jacobian = torch.func.jacfwd(points)(found).flatten(0, 1)
        gap = (wanted - points(found)).flatten()
        found = found + torch.linalg.lstsq(jacobian, gap[:, None]).solution[:, 0]

    def percent(values: Tensor) -> float:
        eyes = (wanted[45] - wanted[36]).norm()
        return float(100 * (points(values) - wanted).norm(dim=-1).mean() / eyes)

    assert percent(start) > 5
    assert percent(found) < 1.5
    assert abs(float(found[0]) - 0.4) < 0.05 and abs(float(found[2]) - 0.2) < 0.02

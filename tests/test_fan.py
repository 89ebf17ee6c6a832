"""FAN: its crop and its decoding against face-alignment's own, its derivatives, its weights, and the chain.

The published weights are not there. The network is the package's, one stack, untrained, or with its last
layer fitted to a few renders, which is enough to find landmarks.
"""

import copy
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import pytest
import torch
from scenes import check_derivative, random
from torch import Tensor

from pipeline import detector_check
from pipeline.chain import build_renderer, build_stand_in
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect import fan_weights
from pipeline.detect.embedding import IBUG68
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.fan import FAN, Reading, fan_region
from pipeline.detect.heatmaps import hard_decode, soft_decode
from pipeline.errors import ChainRigError
from pipeline.layer import Pipeline
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer
from pipeline.target.reading import converted

SIZE = 128  # of the views: a quarter of the work of 256
EYES = (36, 45)  # outer corners


class Scene(NamedTuple):
    """A rig, and its layers for a view of SIZE pixels."""

    rig: Rig
    deform: Deformer
    render: Renderer
    stand_in: Pipeline


@pytest.fixture(scope="module")
def scene() -> Scene:
    rig = Rig.load()
    camera = Camera(torch.tensor(4.8 * SIZE), torch.full((2,), SIZE / 2), size=(SIZE, SIZE))
    render = build_renderer(rig, camera, Material(HeadTexture.load()()), samples=1)
    return Scene(rig, Deformer(rig), render, build_stand_in(rig, camera))


def faces(rig: Rig, count: int, seed: int) -> Tensor:
    """(count, K): faces that look about at the camera."""
    about = {
        "headTranslationX": (0, 0.012), "headTranslationY": (0.035, 0.012), "headTranslationZ": (-1.2, 0.05),
        "headRotationX": (0, 0.1), "headRotationY": (0, 0.15), "headRotationZ": (0, 0.1),
        "jawOpen": (0.15, 0.15),
    }  # fmt: skip
    x = rig.controls.rest.float().repeat(count, 1)
    for i, (name, (middle, spread)) in enumerate(about.items()):
        x[:, rig.controls.index(name)] = middle + spread * random(count, seed=100 * seed + i).float()
    return x


@pytest.fixture(scope="module")
def taught(scene: Scene) -> FAN:
    """An untrained FAN whose last layer is fitted, by least squares, to peaks on a few renders."""
    fan = untrained()
    x = faces(scene.rig, 8, seed=0)
    seen: list[Tensor] = []
    last = fan.network.get_submodule("l0")
    assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
    hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    with torch.no_grad():
        for one in x:
            fan(scene.render(scene.deform(one)))
        hook.remove()
        points = scene.stand_in(x)[:, list(IBUG68), :2] / 4
        wanted = peaks(points.flatten(0, 1), 1.75, SIZE // 4)  # [8·68, H, W]
        a = torch.stack(seen).movedim(1, -1).reshape(-1, 256).double()
        a = torch.cat([a, torch.ones(len(a), 1)], -1)
        b = wanted.unflatten(0, (-1, 68)).movedim(1, -1).reshape(-1, 68)
        normal = a.T @ a
        ridge = 1e-6 * normal.diagonal().mean() * torch.eye(257)
        fitted = torch.linalg.solve(normal + ridge, a.T @ b)
        last.weight.copy_(fitted[:-1].T[..., None, None])
        last.bias.copy_(fitted[-1])
    return fan


# Decoding


def peaks(at: Tensor, std: float, size: int = 64) -> Tensor:
    """Heatmaps (N, size, size) with a peak of height 1 at (N, 2)."""
    c = torch.arange(size, dtype=torch.float64) + 0.5
    y, x = torch.meshgrid(c, c, indexing="ij")
    distance = torch.stack([x, y], -1) - at[:, None, None]
    return torch.exp(-distance.square().sum(-1) / (2 * std**2))


@pytest.fixture()
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """face-alignment's decoding without its compilation, which would take longer than the tests."""
    from face_alignment import utils

    for name in ("transform_np", "_get_preds_fromhm"):
        monkeypatch.setattr(utils, name, getattr(utils, name).py_func)


@pytest.mark.usefixtures("interpreted")
def test_hard_decoding_is_face_alignments() -> None:
    from face_alignment.utils import get_preds_fromhm

    heatmaps = random(3, 68, 64, 64).float()
    for i, (row, column) in enumerate([(0, 0), (0, 63), (63, 0), (63, 63), (0, 20), (31, 63)]):
        heatmaps[0, i, row, column] = 2  # at the border there is no quarter step
    theirs = torch.from_numpy(get_preds_fromhm(heatmaps.numpy())[0])
    assert torch.equal(hard_decode(heatmaps), theirs)


def test_soft_decoding_becomes_hard_as_the_temperature_falls() -> None:
    heatmaps = random(4, 68, 64, 64)
    largest = heatmaps.flatten(-2).argmax(-1)
    centre = torch.stack([largest % 64, largest // 64], -1) + 0.5
    for window in (4, None):
        assert torch.equal(soft_decode(heatmaps, 0, window), centre)
        away = [float((soft_decode(heatmaps, t, window) - centre).abs().mean()) for t in (1e-1, 1e-2, 1e-9)]
        assert away[0] > away[1] > away[2] and away[2] < 1e-6
    inner = ((largest % 64 - 31.5).abs().maximum((largest // 64 - 31.5).abs()) < 31)[..., None]
    quarter = (hard_decode(heatmaps) - centre).abs()
    assert torch.equal(quarter, 0.25 * inner.expand_as(quarter))


# Mean distance from the truth in pixels of the 256 × 256 crop: the table in docs/fan.md.
DISTANCES = {
    # temperature: std 1.75 with the window, without; std 3.25 with, without
    0.02: (1.00, 1.00, 0.16, 0.16),
    0.05: (0.34, 0.34, 0.00, 0.00),
    0.10: (0.05, 4.5, 0.02, 1.6),
    0.20: (0.15, 60, 0.23, 44),
    0.50: (0.85, 70, 0.82, 67),
}


@pytest.mark.parametrize("temperature", DISTANCES)
def test_the_bias_of_soft_decoding_is_the_documented_one(temperature: float) -> None:
    at = random(400, 2, low=8, high=56)
    documented = iter(DISTANCES[temperature])
    for std in (1.75, 3.25):
        heatmaps = peaks(at, std)
        assert 4 * float((hard_decode(heatmaps) - at).norm(dim=-1).mean()) == pytest.approx(0.76, abs=0.03)
        for window in (4, None):
            distance = 4 * float((soft_decode(heatmaps, temperature, window) - at).norm(dim=-1).mean())
            assert distance == pytest.approx(next(documented), rel=0.1, abs=0.01)


def test_weak_peaks_are_decoded_like_strong_ones() -> None:
    heatmaps = peaks(random(50, 2, low=8, high=56), 1.75)
    torch.testing.assert_close(soft_decode(0.2 * heatmaps), soft_decode(heatmaps))


@pytest.mark.parametrize(("std", "largest"), [(1.75, 0.01), (3.25, 0.05)])
def test_the_point_hardly_jumps_when_the_window_moves_on(std: float, largest: float) -> None:
    x = torch.linspace(15, 17, 401, dtype=torch.float64)
    points = 4 * soft_decode(peaks(torch.stack([x, torch.full_like(x, 15.3)], -1), std, 32))  # of the crop
    steps = points[:, 0].diff()
    assert (steps - 4 * x.diff()).abs().max() < largest
    assert (steps / x.diff() / 4).median() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("window", [3, None])
def test_decoding_has_the_derivative_of_what_it_computes(window: int | None) -> None:
    check_derivative(lambda x: soft_decode(x, 0.1, window), random(2, 5, 12, 16, low=0), tolerance=1e-5)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("temperature", [0, 1e-30, 1e-3, 0.1])
@pytest.mark.parametrize("window", [4, None])
def test_a_flat_heatmap_has_finite_derivatives(level: float, temperature: float, window: int | None) -> None:
    flat = torch.full((2, 16, 16), level, requires_grad=True)
    points = soft_decode(flat, temperature, window)
    (gradient,) = torch.autograd.grad(points.sum(), flat)
    tangent = torch.func.jvp(
        lambda x: soft_decode(x, temperature, window), (flat.detach(),), (flat * 0 + 1,)
    )[1]
    assert points.isfinite().all() and gradient.isfinite().all() and tangent.isfinite().all()


# The crop


def ramps(size: int) -> Tensor:
    """(size, size, 3) uint8: x, y and their sum, 4 levels a pixel."""
    x = torch.arange(size).expand(size, size)
    return torch.stack([4 * x, 4 * x.T, 2 * (x + x.T)], -1).to(torch.uint8)


def test_the_region_is_face_alignments_crop() -> None:
    from face_alignment.utils import crop

    photo = ramps(60)
    boxes = random(12, 2, seed=3, low=17, high=20).repeat(1, 2)
    boxes[:, 2:] += random(12, 2, seed=4, low=18, high=22)
    regions = fan_region(boxes)
    ours = 255 * regions.crop(photo / 255.0)
    for k, (left, top, right, bottom) in enumerate(boxes.tolist()):
        centre = torch.tensor([(left + right) / 2, (top + bottom) / 2 - 0.12 * (bottom - top)])
        theirs = torch.from_numpy(crop(photo.numpy(), centre, (right - left + bottom - top) / 195)).double()
        apart = (ours[k] - theirs)[8:-8, 8:-8]  # in levels of the ramps: half a pixel is two
        square = bool((4 * regions.side[k]) % 4 == 0)
        assert apart.abs().max() < (0.8 if square else 1.8)  # 8-bit arithmetic; ¼ pixel at the corners
        assert apart.mean((0, 1)).abs().max() < 0.15
        torch.testing.assert_close(ours[k] / 255, fan_region(boxes[k]).crop(photo / 255.0))


@pytest.mark.usefixtures("interpreted")
def test_landmarks_in_the_photo_are_face_alignments(scene: Scene, taught: FAN) -> None:
    """Their own are whole pixels, and up to a pixel of the crop off: they map back with another square."""
    from face_alignment import FaceAlignment

    with torch.no_grad():
        face = scene.render(scene.deform(faces(scene.rig, 1, seed=2)[0]))
    photo = (255 * face.clamp(0, 1)).to(torch.uint8).repeat(2, 3, 1)
    box = torch.tensor([90.3, 80.2, 200.9, 200.4])
    theirs = FaceAlignment.__new__(FaceAlignment)  # its constructor downloads
    theirs.face_alignment_net, theirs.landmarks_type, theirs.max_batch_size = taught.network, 1, 1
    theirs.device, theirs.dtype = "cpu", torch.float32
    theirs.face_detector = type("Detector", (), {"reference_scale": 195})
    region = fan_region(box)
    for mirror in (False, True):
        theirs.flip_input = mirror
        found = theirs.get_landmarks_from_image(photo.numpy(), [[*box.tolist(), 1.0]])
        assert found is not None
        fan = copy.copy(taught)
        fan.temperature, fan.mirror = 0, mirror
        ours = region.map_to_photo(fan(region.crop(photo / 255)))
        pixel = float(region.side) / 256
        near = (ours - torch.from_numpy(found[0])).abs().amax(
            -1
        ) < 1 + pixel + pixel  # truncated, mapped, ¼ step
        assert near.float().mean() > 0.9  # their crop is rounded to 8 bits: some arg max lies elsewhere


# The network


@pytest.fixture(scope="module")
def fan() -> FAN:
    return untrained()


def untrained() -> FAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FAN(stacks=1)


def test_derivatives_are_central_differences(fan: FAN) -> None:
    precise = copy.deepcopy(fan).double()
    precise.temperature = 1.0  # an untrained network's heatmaps are noise: smooth them
    check_derivative(precise, random(64, 64, 3, low=0), step=1e-7, tolerance=1e-5)


@torch.no_grad()
def test_a_batch_is_its_singles(fan: FAN) -> None:
    pictures = random(2, 2, 64, 128, 3, low=0).float()
    together = fan.forward_full(pictures)
    assert together.landmarks.shape == (2, 2, 68, 2) and together.confidence.shape == (2, 2, 68)
    for i, j in ((0, 0), (1, 1)):
        torch.testing.assert_close(together.landmarks[i, j], fan(pictures[i, j]), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.func.vmap(fan)(pictures[0]), together.landmarks[0], atol=1e-3, rtol=0)
    assert (together.landmarks[0, 0] - together.landmarks[1, 1]).abs().max() > 1


@torch.no_grad()
def test_float64_agrees_with_float32(fan: FAN) -> None:
    picture = random(64, 64, 3, low=0)
    precise = copy.deepcopy(fan).double()(picture)
    assert precise.dtype == torch.float64
    torch.testing.assert_close(fan(picture.float()).double(), precise, atol=1e-3, rtol=0)


@torch.no_grad()
def test_confidence_is_the_height_of_the_peak(fan: FAN) -> None:
    picture = random(64, 64, 3, low=0).float()
    torch.testing.assert_close(fan.forward_full(picture).confidence, fan.heatmaps(picture).amax((-2, -1)))


@torch.no_grad()
def test_nothing_is_trained_and_statistics_stay(fan: FAN) -> None:
    pictures = random(2, 64, 64, 3, low=0).float()
    before = fan(pictures)
    Pipeline([fan]).train()
    assert torch.equal(fan(pictures), before)
    assert not any(parameter.requires_grad for parameter in fan.parameters())


@torch.no_grad()
def test_with_the_mirrored_crop_mirrored_faces_have_mirrored_landmarks() -> None:
    fan = untrained()
    fan.mirror = True
    picture = random(64, 64, 3, low=0).float()
    points, mirrored = fan(picture), fan(picture.flip(1))
    back = torch.stack([64 - mirrored[:, 0], mirrored[:, 1]], -1)
    torch.testing.assert_close(back[[8, 36, 48, 30]], points[[8, 45, 54, 30]], atol=1e-3, rtol=0)


def test_pictures_that_do_not_fit_are_refused(fan: FAN) -> None:
    for shape in ((100, 100, 3), (64, 64, 4)):
        with pytest.raises(ValueError, match="256"):
            fan(torch.zeros(shape))


# The weights


class Malicious:
    """Unpickling it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch '{self.mark}'",))


def refusal(path: Path, stacks: int = 1) -> str:
    with pytest.raises(ChainRigError) as error:
        FAN.load(path=path, stacks=stacks)
    message = str(error.value)
    assert "\n" not in message and str(path) in message and len(message) < 300
    return message


@pytest.mark.parametrize("old_format", [False, True])
def test_weights_come_back(fan: FAN, tmp_path: Path, old_format: bool) -> None:
    # as very old files are: without the counters
    weights = {k: v for k, v in fan.network.state_dict().items() if "num_batches_tracked" not in k}
    plain = tmp_path / "weights.pth.tar"
    torch.save(weights, plain, _use_new_zipfile_serialization=not old_format)
    named = tmp_path / f"FAN-{hashlib.sha256(plain.read_bytes()).hexdigest()[:10]}.pth.tar"
    plain.rename(named)
    again = FAN.load(path=named, stacks=1)
    picture = random(64, 64, 3, low=0).float()
    assert torch.equal(again(picture), fan(picture))
    assert not any(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_with_code_is_refused_and_never_run(tmp_path: Path, protocol: int) -> None:
    mark, path = tmp_path / "executed", tmp_path / "weights.pth.tar"
    path.write_bytes(pickle.dumps({"conv1.weight": Malicious(mark)}, protocol=protocol))
    assert "nothing in it was executed" in refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize("old_format", [False, True])
def test_a_torch_file_with_code_is_refused_and_never_run(tmp_path: Path, old_format: bool) -> None:
    mark, path = tmp_path / "executed", tmp_path / "weights.pth.tar"
    torch.save({"a": Malicious(mark)}, path, _use_new_zipfile_serialization=not old_format)
    message = refusal(path)
    assert "nothing in it was executed" in message and "system" in message
    assert not mark.exists()


def test_weights_that_are_not_what_their_name_says_are_refused(fan: FAN, tmp_path: Path) -> None:
    path = tmp_path / "2DFAN4-11f355bf06.pth.tar"
    torch.save(fan.network.state_dict(), path)
    assert "sha256" in refusal(path)


def test_damaged_files_are_refused(fan: FAN, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth.tar"
    torch.save(fan.network.state_dict(), path)
    whole = path.read_bytes()
    for data in (
        b"",
        whole[:1000],
        whole[: len(whole) // 2],
        b"<html>404</html>",
        b"words\n",
        bytes(range(256)),
    ):
        path.write_bytes(data)
        assert "damaged" in refusal(path)
    path.unlink()
    assert "No such file" in refusal(path)


def test_weights_of_another_architecture_are_refused(fan: FAN, tmp_path: Path) -> None:
    weights = dict(fan.network.state_dict())
    path = tmp_path / "weights.pth.tar"
    cases = {
        "it has no bl0.weight": (2, weights),
        "l0.weight is 10×256×1×1, not 68×256×1×1": (1, weights | {"l0.weight": torch.zeros(10, 256, 1, 1)}),
        "it has head.weight": (1, weights | {"head.weight": torch.zeros(3)}),
        "no list of named tensors": (1, {"state_dict": weights, "epoch": 3}),
    }
    for expected, (stacks, content) in cases.items():
        torch.save(content, path)
        assert expected in refusal(path, stacks)


def test_the_files_are_those_of_face_alignment() -> None:
    from face_alignment.api import models_urls

    ours = [fan_weights.ADDRESS + fan_weights.FILES[variant] for variant in ("2d", "3d")]
    assert ours == [models_urls["2DFAN-4"], models_urls["3DFAN-4"]]


@pytest.fixture()
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_without_internet_the_message_says_which_file_goes_where(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ChainRigError) as error:
        FAN.load("3d", stacks=1)
    message = str(error.value)
    assert "\n" not in message and "Name or service not known" in message
    assert f"{fan_weights.ADDRESS}3DFAN4-7835d9f11d.pth.tar" in message and str(cache) in message
    with pytest.raises(ChainRigError, match="2d, 3d"):
        FAN.load("4d", stacks=1)  # type: ignore[arg-type]


def test_the_download_is_checked_and_a_cached_file_is_used(
    fan: FAN, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = []

    def download(url: str, path: str, hash_prefix: str) -> None:
        wanted.append((url, hash_prefix))
        torch.save(fan.network.state_dict(), path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    path = fan_weights.fetch("2d")
    assert path == cache / "2DFAN4-11f355bf06.pth.tar"
    assert fan_weights.fetch("2d") == path and wanted == [(fan_weights.ADDRESS + path.name, "11f355bf06")]
    assert "sha256" in refusal(path)  # what arrived is also checked when it is read


def test_importing_does_not_import_face_alignment() -> None:
    code = "import sys, pipeline.detector_check; sys.exit('face_alignment' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("face_alignment", "face_alignment.models"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ChainRigError, match="^The Python package face_alignment.* is missing: install chainrig"
    ):
        FAN(stacks=1)


def test_doctor_tells_what_is_missing_wrong_or_right(
    fan: FAN, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable, note = detector_check.check_detector("fan")
    assert not usable and str(cache) in note and "2DFAN4-11f355bf06" in note

    cache.mkdir(parents=True)
    (cache / "2DFAN4-11f355bf06.pth.tar").write_bytes(b"half a file")
    usable, note = detector_check.check_detector("fan")
    assert not usable and "sha256" in note

    monkeypatch.setattr(FAN, "load", lambda variant: fan)
    usable, note = detector_check.check_detector("fan")
    assert not usable and "% of the eye distance" in note

    mesh = FaceMesh.load()

    def sees(crop: Tensor):
        return Reading(converted(mesh(crop), "mediapipe478", "ibug68")[:, :2], torch.ones(68))

    monkeypatch.setattr(fan, "forward_full", sees)
    usable, note = detector_check.check_detector("fan")
    assert usable and "mean confidence 1.00" in note


# The chain


@pytest.fixture(scope="module")
def chain(scene: Scene, taught: FAN) -> Pipeline:
    return Pipeline([scene.deform, scene.render, taught])


@torch.no_grad()
def test_a_briefly_taught_fan_finds_landmarks_on_renders(scene: Scene, chain: Pipeline) -> None:
    x = faces(scene.rig, 4, seed=1)  # not those it was taught
    found, true = chain(x), scene.stand_in(x)[:, list(IBUG68), :2]
    eyes = (true[:, EYES[0]] - true[:, EYES[1]]).norm(dim=-1)
    assert ((found - true).norm(dim=-1).mean(-1) / eyes).mean() < 0.1  # a misplaced crop or point would show
    for one, together in zip(x[:2], found, strict=False):
        torch.testing.assert_close(chain(one), together, atol=1e-2, rtol=0)
    assert [layer.name for layer in chain] == ["deform", "render", "detect"]


@torch.no_grad()
def test_landmarks_follow_the_face(scene: Scene, chain: Pipeline) -> None:
    x = faces(scene.rig, 1, seed=1).repeat(3, 1)
    pixels = torch.tensor([-8, 0, 8])
    x[:, scene.rig.controls.index("headTranslationX")] = pixels * 1.2 / (4.8 * SIZE)
    left, middle, right = chain(x).median(-2).values
    # a network of random features lags behind a little
    assert 4 < float((middle - left)[0]) < 9 and 4 < float((right - middle)[0]) < 9
    assert (right - left)[1].abs() < 1


def test_the_gradient_of_the_chain_is_that_of_what_is_computed(scene: Scene, chain: Pipeline) -> None:
    """As in test_chain.py: without outlines, and with steps so small that no sample sees another triangle."""
    precise = copy.deepcopy(chain).double()
    renderer = list(precise)[1]
    assert isinstance(renderer, Renderer)
    renderer.outlines = False
    x = faces(scene.rig, 1, seed=1)[0].double()
    weights = random(68, 2)
    leaf = x.clone().requires_grad_()
    points = precise(leaf)
    (gradient,) = torch.autograd.grad((weights * points).sum(), leaf)
    for name, step in {"jawOpen": 1e-8, "headRotationZ": 1e-8, "headTranslationX": 1e-9}.items():
        i = scene.rig.controls.index(name)
        d = torch.zeros_like(x)
        d[i] = step
        with torch.no_grad():
            slope = (weights * (precise(x + d) - precise(x - d))).sum() / (2 * step)
        assert float(gradient[i]) == pytest.approx(float(slope), rel=1e-3), name
    along = torch.func.jvp(precise, (x,), (random(len(x)),))[1]
    assert float((weights * along).sum()) == pytest.approx(float(gradient @ random(len(x))), rel=1e-6)
    renderer.outlines = True
    with torch.no_grad():
        assert (chain(x.float()) - precise(x)).abs().max() < 0.1

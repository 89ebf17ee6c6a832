"""The landmark embedding lies where the detector sees the landmarks; the derivatives of the stand-in."""

import pytest
import torch
from torch import Tensor

from pipeline.chain import build_chain, build_stand_in
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import SCORED
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.layer import Pipeline
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material

FOCAL_PX, SIDE_PX, DISTANCE_M = 1230.0, 256, 1.2
RIGHT_EYE, LEFT_EYE = 33, 263  # outer corners
RIGHT_IRIS, LEFT_IRIS = range(468, 473), range(473, 478)
MIRRORED = [(33, 263), (133, 362), (159, 386), (61, 291), (78, 308), (70, 300), (98, 327), (468, 473)]
INNER_LIPS = [(82, 87), (13, 14), (312, 317)]  # upper, lower


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def places(rig: Rig) -> Tensor:
    """(478, 3) on the resting head."""
    return on_head(rig, rig.rest)


def on_head(rig: Rig, vertices: Tensor) -> Tensor:
    assert rig.landmark_triangle is not None and rig.landmark_barycentric is not None
    return (rig.landmark_barycentric[..., None] * vertices[rig.triangles[rig.landmark_triangle]]).sum(-2)


def camera(view: Tensor | None = None) -> Camera:
    return Camera(torch.tensor(FOCAL_PX), torch.full((2,), SIDE_PX / 2), view)


def before_the_camera(rig: Rig, **controls: float) -> Tensor:
    return rig.controls.pack({"headTranslationY": 0.035, "headTranslationZ": -DISTANCE_M, **controls})


@pytest.mark.parametrize("yaw_deg", [0, -20, 20])
def test_the_detector_sees_the_landmarks_where_the_embedding_has_them(rig: Rig, yaw_deg: float) -> None:
    x = before_the_camera(rig, headRotationY=yaw_deg * torch.pi / 180)
    detector, material = FaceMesh.load(), Material(HeadTexture.load()())
    with torch.no_grad():
        found = build_chain(rig, camera(), detector, material)(x)
        for _ in range(2):  # the detector's own view of the face
            view = Region.around(found).crop_from_photo()
            crop = build_chain(rig, camera(view), detector, material)(x)
            found = Region.around(found).map_to_photo(crop)
        expected = build_stand_in(rig, camera(view))(x)
    distance = (crop - expected)[list(SCORED), :2].norm(dim=-1)
    eyes = (crop[RIGHT_EYE] - crop[LEFT_EYE])[:2].norm()
    # Measured: 0.92 in front, 1.5 and 1.6 at the sides. Some 0.5 of it is the detector's own habit: pictures
    # and their mirror images show that it answers half a pixel to the right of what it sees.
    assert 100 * distance.mean() / eyes < 1.7


def test_the_two_halves_of_the_face_mirror_each_other(places: Tensor) -> None:
    right, left = (places[[pair[side] for pair in MIRRORED]] for side in (0, 1))
    assert (right[:, 0] < 0).all()
    torch.testing.assert_close(right * torch.tensor([-1.0, 1, 1]), left, rtol=0, atol=0.0005)
    assert places[[1, 4, 168, 13, 14, 152], 0].abs().max() < 0.0005


def test_irises_lie_on_the_eyeballs_and_the_rest_on_the_skin(rig: Rig) -> None:
    assert rig.landmark_triangle is not None
    parts = [rig.part_names[i] for i in rig.part_of_triangle[rig.landmark_triangle].tolist()]
    assert {parts[i] for i in RIGHT_IRIS} == {"eye_right"}
    assert {parts[i] for i in LEFT_IRIS} == {"eye_left"}
    assert set(parts[:468]) == {"skin"}


def test_the_lips_part_when_the_jaw_opens(rig: Rig) -> None:
    stand_in = build_stand_in(rig, camera())
    closed, opened = (stand_in(before_the_camera(rig, jawOpen=jaw)) for jaw in (0.0, 1.0))
    upper, lower = ([pair[side] for pair in INNER_LIPS] for side in (0, 1))
    pixels_per_mm = FOCAL_PX / DISTANCE_M / 1000
    assert ((closed[lower] - closed[upper])[:, 1].abs() < 3 * pixels_per_mm).all()
    assert ((opened[lower] - opened[upper])[:, 1] > 20 * pixels_per_mm).all()


@pytest.fixture(scope="module")
def stand_in(rig: Rig) -> tuple[Pipeline, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = before_the_camera(rig, headRotationY=0.2, headRotationX=-0.1).double()
    x[: rig.controls.groups["pose"].start] += 0.2 * torch.rand(
        rig.controls.groups["pose"].start, generator=generator, dtype=torch.float64
    )
    return build_stand_in(rig, camera()).double(), x


def directions(x: Tensor, count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(x.shape, generator=generator, dtype=x.dtype) for _ in range(count)]


def test_forward_derivatives_are_those_of_central_differences(stand_in: tuple[Pipeline, Tensor]) -> None:
    chain, x = stand_in
    step = 1e-5
    for direction in directions(x, 5):
        forward = torch.func.jvp(chain, (x,), (direction,))[1]
        numeric = (chain(x + step * direction) - chain(x - step * direction)) / (2 * step)
        assert (forward - numeric).norm() < 1e-6 * numeric.norm()


def test_reverse_derivatives_are_the_adjoint_of_forward_ones(stand_in: tuple[Pipeline, Tensor]) -> None:
    chain, x = stand_in
    gradient = directions(chain(x), 1)[0]
    pulled = torch.func.vjp(chain, x)[1](gradient)[0]
    for direction in directions(x, 5):
        forward = torch.func.jvp(chain, (x,), (direction,))[1]
        one, other = (gradient * forward).sum(), (pulled * direction).sum()
        assert abs(one - other) < 1e-9 * gradient.norm() * forward.norm()


def test_a_batch_gives_what_its_items_give(rig: Rig) -> None:
    chain = build_stand_in(rig, camera())
    x = torch.stack([before_the_camera(rig, jawOpen=jaw) for jaw in (0.0, 0.4, 0.8)])
    torch.testing.assert_close(chain(x), torch.stack([chain(item) for item in x]), rtol=0, atol=1e-3)

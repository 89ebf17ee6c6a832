"""The parts of layer 2: camera, texture, normals, material and light, each with its derivative."""

import pytest
import torch
from scenes import Function, check_derivative, random, sphere, square_camera
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional

from pipeline.errors import ChainRigError
from pipeline.render import srgb
from pipeline.render.camera import NEAR_M, Camera
from pipeline.render.lighting import Light, harmonics_basis
from pipeline.render.material import Material, ggx, shade, wrapped
from pipeline.render.surface import Surface
from pipeline.render.texture import Mipmaps, level_of_detail


def parts() -> dict[str, tuple[Function, Tensor]]:
    """Each differentiable piece and a point."""
    camera = Camera(
        random(2, low=40, high=60),
        random(2, 2, low=10, high=20),
        torch.eye(2, 3, dtype=torch.float64) + 0.1 * random(2, 2, 3, seed=3),
    )
    points = random(2, 4, 3, seed=4) * 0.3 - torch.tensor([0, 0, 1.0], dtype=torch.float64)
    triangles = torch.tensor([[0, 1, 2], [1, 3, 2]])
    mipmaps = Mipmaps(random(8, 16, 3, seed=8))
    uv = random(7, 2, low=-0.1, high=1.1, seed=12)
    level = torch.tensor([0.0, 0.3, 1.5, 2.9, 0.7, 2.0, 9]).double()
    return {
        "homogeneous": (camera.homogeneous, points),
        "project": (camera.project, points),
        "clip": (camera.clip, points),
        "pixels_per_metre": (camera.pixels_per_metre, random(2, 5, low=0.5, seed=9)),
        "normals": (Surface(triangles).normals, points),
        "texture in uv": (lambda x: mipmaps.sample(x, level), uv),
        "texture in level": (lambda x: mipmaps.sample(uv[:5], x), level[:5] + 0.05),
        "texture in texels": (lambda x: Mipmaps(x).sample(uv, level), random(8, 4, 3, seed=13)),
        "level of detail": (level_of_detail, random(9, low=0.1, high=9, seed=17)),
        "wrapped in the cosine": (lambda x: wrapped(x, torch.tensor(0.4).double()), random(9, seed=18)),
        "wrapped in the wrap": (lambda x: wrapped(random(9, seed=18), x), random(1, low=0.1, high=0.9)[0]),
        "encode dark": (srgb.encode, random(20, low=-0.01, high=0.02, seed=14)),
        "encode bright": (srgb.encode, random(20, low=0.1, high=2, seed=15)),
        "decode": (srgb.decode, random(40, low=0, high=1, seed=16)),
        **{f"light of {name}": pair for name, pair in lit().items()},
    }


def lit() -> dict[str, tuple[Function, Tensor]]:
    """The light of six fragments of two pictures, as a function of each of its arguments."""
    around = functional.normalize(random(6, 3, seed=20) + torch.tensor([0, 0, 1.5]).double(), dim=-1)
    arguments = {
        "texel": random(6, 4, low=0.3, high=0.9, seed=21),
        "normal": functional.normalize(random(6, 3, seed=22) + torch.tensor([0, 0, 1.2]).double(), dim=-1),
        "eye": around,
        "ambient": random(2, 3, low=0.1, seed=23),
        "directional": random(2, 3, low=0.1, seed=24),
        "direction": random(2, 3, seed=25) + torch.tensor([0, 0, 2.0]).double(),
        "harmonics": random(2, 9, 3, seed=26),
        "specular": torch.tensor(0.2).double(),
        "wrap": torch.tensor(0.6).double(),
    }
    item = torch.tensor([0, 0, 0, 1, 1, 1])

    def radiance(**a: Tensor) -> Tensor:
        light = Light(a["ambient"], a["directional"], a["direction"], a["harmonics"])
        material = Material(random(1, 1, 4), a["specular"], a["wrap"])
        return shade(material, light, a["texel"], a["normal"], a["eye"], item).radiance

    def alone(name: str) -> Function:
        return lambda x: radiance(**{**arguments, name: x})

    return {name: (alone(name), value) for name, value in arguments.items()}


@pytest.mark.parametrize(("function", "x"), parts().values(), ids=parts().keys())
def test_derivatives_of_the_parts_in_both_modes(function: Function, x: Tensor) -> None:
    assert gradcheck(function, (x.clone().requires_grad_(),), check_forward_ad=True)
    check_derivative(function, x)


def test_the_camera_sees_up_as_up_and_its_axis_at_the_principal_point() -> None:
    camera = square_camera(100, 200.0)
    points = torch.tensor([[0.0, 0, -2], [0.1, 0, -2], [0, 0.1, -2]]).double()
    expected = torch.tensor([[50.0, 50], [60, 50], [50, 40]]).double()
    torch.testing.assert_close(camera.project(points), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(camera.pixels_per_metre(torch.tensor([2.0])), torch.tensor([100.0]).double())


def test_the_view_is_an_affine_map_after_the_photo() -> None:
    view = torch.tensor([[0.5, 0.1, 3.0], [-0.1, 0.5, 4.0]]).double()
    plain, seen = square_camera(100, 200.0), square_camera(100, 200.0)
    seen.view = view
    points = random(5, 3) - torch.tensor([0, 0, 2.0])
    torch.testing.assert_close(seen.project(points), plain.project(points) @ view[:, :2].T + view[:, 2])
    assert seen.pixels_per_metre(torch.ones(1).double()).item() == pytest.approx(200 * 0.26**0.5)


def test_clip_coordinates_lead_to_the_pixels_and_the_near_plane() -> None:
    camera = Camera(torch.tensor(50.0).double(), torch.tensor([20.0, 11]).double(), size=(24, 40))
    points = random(6, 3) - torch.tensor([0, 0, 2.0])
    clip = camera.clip(points)
    ndc = clip[:, :2] / clip[:, 3:]
    pixels = torch.stack([(ndc[:, 0] + 1) * 20, (1 - ndc[:, 1]) * 12], -1)
    torch.testing.assert_close(pixels, camera.project(points))
    near = camera.clip(torch.tensor([[0.3, 0.1, -NEAR_M]]).double())[0]
    assert near[2].item() == pytest.approx(-near[3].item())


def test_encoding_is_the_standard_curve_and_decoding_undoes_it() -> None:
    x = torch.linspace(-0.1, 1.5, 1000, dtype=torch.float64)
    torch.testing.assert_close(srgb.decode(srgb.encode(x)), x, rtol=0, atol=1e-6)
    assert srgb.encode(torch.tensor(0.18).double()).item() == pytest.approx(0.461356, abs=1e-6)
    assert srgb.encode(torch.tensor(1.0).double()).item() == pytest.approx(1)
    assert srgb.encode(torch.tensor(0.001).double()).item() == pytest.approx(0.01292)


def test_texels_lie_at_their_centres_and_levels_are_means() -> None:
    texture = random(4, 8, 3)
    centres = torch.tensor([[(2 + 0.5) / 8, 1 - (1 + 0.5) / 4]]).double()
    level = torch.tensor([0.0])
    torch.testing.assert_close(Mipmaps(texture).sample(centres, level)[0], texture[1, 2])
    corner = torch.tensor([[2 / 8, 1 - 2 / 4]]).double()  # where four texels meet
    four = texture[1:3, 1:3].mean((0, 1))
    torch.testing.assert_close(Mipmaps(texture).sample(corner, level)[0], four)
    block = torch.tensor([[(1 + 0.5) / 4, 1 - (0 + 0.5) / 2]]).double()  # a texel of the next level
    torch.testing.assert_close(Mipmaps(texture).sample(block, level + 1)[0], texture[0:2, 2:4].mean((0, 1)))
    beyond = torch.tensor([[-3.0, 7.0], [5.0, -2.0]]).double()
    torch.testing.assert_close(
        Mipmaps(texture).sample(beyond, torch.tensor([0.0, 0])), texture[[0, 3], [0, 7]]
    )


def test_a_texture_of_one_texel_is_one_colour() -> None:
    texture = torch.tensor([[[0.1, 0.2, 0.3]]])
    found = Mipmaps(texture).sample(random(5, 2).float(), torch.tensor([0.0, 1, 2, 3, -1]))
    torch.testing.assert_close(found, texture[0].expand(5, 3))


def test_a_texture_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ChainRigError, match="48 x 32 texels.*power of two"):
        Mipmaps(torch.zeros(32, 48, 3))


def test_the_mip_level_is_where_a_texel_is_about_a_pixel() -> None:
    ratio = torch.tensor([0.0, 0.3, 1.0, 4.0, 16.0, 60.0, torch.nan])
    assert level_of_detail(ratio).tolist() == pytest.approx([0, 0, 0, 1, 2, 2.953, 0], abs=1e-3)


def test_between_two_levels_the_texture_blends() -> None:
    mipmaps = Mipmaps(random(8, 8, 3))
    uv = random(5, 2, low=0, high=1)
    ones = torch.ones(5, dtype=torch.float64)
    low, high = mipmaps.sample(uv, ones), mipmaps.sample(uv, 2 * ones)
    torch.testing.assert_close(mipmaps.sample(uv, 1.25 * ones), 0.75 * low + 0.25 * high)


def test_normals_point_outwards_and_light_falls_on_the_side_that_faces_it() -> None:
    vertices, _, triangles, _ = sphere(20, 20, bumps=0)
    normals = Surface(triangles).normals(vertices)
    outward = functional.normalize(vertices, dim=-1)
    assert (normals * outward).sum(-1).min() > 0.98
    lit = sent(normals, Light(torch.zeros(3), torch.ones(3), torch.tensor([0.0, 2.0, 0.0])).double())[:, 0]
    assert lit[vertices[:, 1].argmax()] > 0.7
    assert lit[vertices[:, 1].argmin()] < 0.05


def sent(normals: Tensor, light: Light, **material: Tensor) -> Tensor:
    """What white paper of these normals sends towards +z."""
    paper = Material(torch.ones(1, 1, 4).double(), **{"specular": torch.tensor(0.0).double(), **material})
    texel, eye = torch.ones(len(normals), 4).double(), torch.tensor([0.0, 0, 1]).double().expand_as(normals)
    return shade(paper, light, texel, normals, eye, torch.zeros(len(normals), dtype=torch.int64)).radiance


def all_around(count: int = 40000, seed: int = 0) -> Tensor:
    """Unit vectors, evenly spread."""
    draw = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return functional.normalize(draw, dim=-1)


@pytest.mark.parametrize("wrap", [0.0, 0.3, 1.0])
def test_wrapped_light_brings_as_much_as_lamberts(wrap: float) -> None:
    cosine = all_around()[:, 2]
    total = wrapped(cosine, torch.tensor(wrap).double()).mean() * 4
    assert total.item() == pytest.approx(1, abs=0.02)
    if wrap == 0:
        torch.testing.assert_close(wrapped(cosine, torch.tensor(0.0).double()), cosine.clamp(min=1e-8))


def test_harmonics_light_a_surface_as_the_environment_that_they_describe() -> None:
    coefficients = random(9, 3)
    light = Light(torch.zeros(3), torch.zeros(3), torch.ones(3), coefficients).double()
    normals = all_around(5, seed=1)
    directions = all_around()
    radiance = harmonics_basis(directions) @ coefficients
    cosine = (normals @ directions.T).clamp(min=0)
    expected = cosine @ radiance / len(directions) * 4  # ∫ L cos dω / π
    torch.testing.assert_close(sent(normals, light), expected, rtol=0, atol=0.03)


def test_the_basis_of_harmonics_is_orthonormal() -> None:
    basis = harmonics_basis(all_around())
    torch.testing.assert_close(
        basis.T @ basis / len(basis) * 4 * torch.pi, torch.eye(9).double(), rtol=0, atol=0.05
    )


@pytest.mark.parametrize("roughness", [0.25, 0.5, 1.0])
def test_a_highlight_sends_out_no_more_than_falls_in_and_little_less_where_smooth(roughness: float) -> None:
    to_light = all_around(200000)
    to_light = to_light[to_light[:, 2] > 0]
    normal = torch.tensor([[0.0, 0, 1]]).double()
    eye = functional.normalize(torch.tensor([[0.4, 0, 1]]).double(), dim=-1)
    mirror = ggx(normal, to_light, eye, torch.tensor([[roughness]]).double(), torch.tensor(1.0).double())
    reflected = (mirror * to_light[:, 2:]).mean() * 2 * torch.pi
    assert 0.5 if roughness == 1 else 0.9 < reflected < 1.02


def test_a_highlight_lies_where_the_light_is_mirrored_and_is_sharper_where_smooth() -> None:
    light = Light(torch.zeros(3), torch.ones(3), torch.tensor([0.8, 0, 1.0])).double()
    half = functional.normalize(light.towards() + torch.tensor([0.0, 0, 1]).double(), dim=-1)
    tilted = functional.normalize(half + torch.tensor([0.0, 0.25, 0]).double(), dim=-1)
    normals, eye = torch.stack([half, tilted]), torch.tensor([[0.0, 0, 1]]).double()
    specular = torch.tensor(0.04).double()
    smooth, rough = (
        ggx(normals, light.towards()[None], eye, torch.tensor([[r]]).double(), specular)[:, 0]
        for r in (0.2, 0.6)
    )
    assert smooth[0] > 10 * smooth[1]
    assert rough[0] < smooth[0]
    assert rough[1] > smooth[1]


def test_the_horizon_and_the_night_side_have_finite_light_and_derivatives() -> None:
    normals = torch.tensor([[0.0, 0, -1], [1, 0, 0], [0, 0, 0], [0, 0, 1]]).double().requires_grad_()
    light = Light(torch.zeros(3), torch.ones(3), torch.tensor([0.0, 0, -1])).double()
    found = sent(normals, light, specular=torch.tensor(0.04).double(), wrap=torch.tensor(0.0).double())
    found.sum().backward()
    assert found.isfinite().all()
    assert normals.grad is not None and normals.grad.isfinite().all()

"""Layer 2 as a whole: vertices to pixels, in batches, in both precisions, and with damaged input."""

import contextlib

import pytest
import torch
from scenes import check_derivative, grid, head_like, jvp, random, settings, square_camera, vjp, wall
from torch import Tensor

from pipeline.errors import ChainRigError
from pipeline.render import fused, srgb
from pipeline.render.camera import Camera
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface


@pytest.mark.parametrize("samples", [1, 2])
def test_derivatives_inside_a_surface_are_exact_in_both_modes(samples: int) -> None:
    renderer, vertices = wall(samples=samples)
    assert len(renderer.fragments(vertices).pixel) == (16 * samples) ** 2
    check_derivative(renderer, vertices, step=1e-7)


def test_jacfwd_and_jacrev_agree() -> None:
    renderer, vertices = wall(size=8)

    def moved(shift: Tensor) -> Tensor:
        return renderer(vertices + shift)

    shift = torch.zeros(3, dtype=torch.float64)
    forward = torch.func.jacfwd(moved)(shift)
    assert forward.shape == (8, 8, 3, 3)
    assert forward.abs().max() > 0.1
    torch.testing.assert_close(forward, torch.func.jacrev(moved)(shift))


def test_the_adjoint_identity_holds_across_outlines() -> None:
    renderer, vertices = head_like(size=32, rings=12)
    direction, weights = random(*vertices.shape, seed=1), random(32, 32, 3, seed=2)
    _, along = jvp(renderer, vertices, direction)
    left, right = (vjp(renderer, vertices, weights) * direction).sum(), (weights * along).sum()
    assert (left - right).abs() <= 1e-9 * weights.norm() * along.norm()
    silent = Renderer(**{**settings(renderer), "outlines": False}).double()
    assert not torch.allclose(jvp(silent, vertices, direction)[1], along)


def test_a_picture_is_the_mean_of_its_encoded_samples() -> None:
    renderer, vertices = head_like(size=16, rings=12)
    fine, _ = head_like(size=32, rings=12, samples=1)
    mean = fine(vertices).view(16, 2, 16, 2, 3).mean((1, 3))
    torch.testing.assert_close(renderer(vertices), mean, rtol=0, atol=1e-12)


def test_a_lit_surface_and_the_background_have_their_colours() -> None:
    renderer, vertices = wall()
    renderer.material = Material.plain(torch.full((4, 4, 3), 0.25).double())
    renderer.light = Light(torch.tensor([0.4, 0.8, 1.2]), torch.zeros(3), torch.ones(3)).double()
    expected = srgb.encode(torch.tensor([0.1, 0.2, 0.3]).double())
    torch.testing.assert_close(renderer(vertices), expected.expand(16, 16, 3))
    away = renderer(vertices + torch.tensor([50.0, 0, 0]))
    torch.testing.assert_close(away, srgb.encode(renderer.background).expand(16, 16, 3))


def test_a_new_texture_shows_and_has_derivatives() -> None:
    renderer, vertices = wall()
    before = renderer(vertices)
    darker = renderer.material.texture * torch.tensor([0.5, 0.5, 0.5, 1])
    renderer.material.texture = darker.requires_grad_()
    for _ in range(2):  # the second backward pass finds nothing freed
        picture = renderer(vertices)
        (grad,) = torch.autograd.grad(picture.sum(), renderer.material.texture)
    assert (before - picture).min() > 0
    assert grad[..., :3].min() >= 0
    assert grad[..., :3].sum() > 0


def test_float32_draws_the_picture_of_float64() -> None:
    renderer, vertices = head_like(size=64, rings=24)
    exact = renderer(vertices)
    point = vertices.float().requires_grad_()
    found = renderer.float()(point)
    found.sum().backward()
    assert found.dtype == torch.float32
    assert point.grad is not None and point.grad.dtype == torch.float32
    assert (found - exact).abs().mean() < 1e-4


def test_a_batch_is_its_pictures_each_with_its_own_camera() -> None:
    renderer, vertices = head_like(size=24, rings=12)
    both = torch.stack([vertices, vertices * torch.tensor([1.2, 0.8, 1.0]) + 0.01])
    weights = random(2, 24, 24, 3, seed=4)
    focal = torch.tensor([80.0, 95.0]).double()
    middle = torch.tensor([[12.0, 12], [10, 14]]).double()
    view = torch.eye(2, 3).double() + 0.1 * random(2, 2, 3, seed=5)
    shared = renderer.camera

    def pictures_and_gradient(points: Tensor, camera: Camera, by: Tensor) -> tuple[Tensor, Tensor]:
        renderer.camera = camera
        points = points.clone().requires_grad_()
        pictures = renderer(points)
        return pictures.detach(), torch.autograd.grad((pictures * by).sum(), points)[0]

    for own in (False, True):
        camera = Camera(focal, middle, view, (24, 24)) if own else shared
        pictures, gradient = pictures_and_gradient(both, camera, weights)
        assert not torch.allclose(pictures[0], pictures[1])
        for i in range(2):
            camera = Camera(focal[i], middle[i], view[i], (24, 24)) if own else shared
            picture, grad = pictures_and_gradient(both[i], camera, weights[i])
            torch.testing.assert_close(pictures[i], picture)
            torch.testing.assert_close(gradient[i], grad)
        torch.testing.assert_close(
            pictures_and_gradient(both[None], camera, weights)[0].shape, (1, 2, 24, 24, 3)
        )

    renderer.camera = Camera(focal, middle, view, (24, 24))  # one mesh, two cameras
    assert renderer(vertices).shape == (2, 24, 24, 3)


def test_an_empty_mesh_is_the_background() -> None:
    renderer, vertices = head_like(size=8, rings=6)
    empty = {
        **settings(renderer),
        "surface": Surface(torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 2)),
    }
    picture = Renderer(**empty).double()(vertices.requires_grad_())
    torch.testing.assert_close(picture.detach(), srgb.encode(renderer.background).expand(8, 8, 3))


def test_a_vertex_that_is_not_a_number_darkens_only_its_own_triangles() -> None:
    renderer, vertices = wall(size=32, cells=12)
    whole = renderer(vertices)
    vertices[84] = torch.nan  # in the middle
    found = renderer(vertices)
    assert found.isfinite().all()
    far = torch.ones(32, 32, dtype=torch.bool)
    far[4:-4, 4:-4] = False  # its neighbours' normals change too
    torch.testing.assert_close(found[far], whole[far])
    assert not torch.allclose(found[16, 16], whole[16, 16])


def test_a_vertex_that_is_not_a_number_leaves_the_others_their_derivatives() -> None:
    renderer, vertices = wall(size=32, cells=12)
    vertices[84] = torch.nan
    point = vertices.clone().requires_grad_()
    renderer(point).sum().backward()
    assert point.grad is not None
    assert point.grad[torch.arange(len(vertices)) != 84].isfinite().all()


def test_vertices_behind_the_camera_leave_finite_pictures_and_derivatives() -> None:
    renderer, vertices = head_like(size=32, rings=12)
    for distance in (1.0, 1.05, 3.0):  # the camera inside the ball, at its skin, and the ball behind it
        point = (vertices + torch.tensor([0, 0, distance]).double()).requires_grad_()
        picture = renderer(point)
        picture.sum().backward()
        assert picture.isfinite().all()
        assert point.grad is not None and point.grad.isfinite().all()


def test_a_large_picture_is_the_small_one_in_detail() -> None:
    renderer, vertices = head_like(size=4096, rings=24, samples=1)
    small, _ = head_like(size=64, rings=24, samples=8)
    with torch.no_grad():
        large = renderer.float()(vertices.float())
        assert large.shape == (4096, 4096, 3)
        coarse = large.view(64, 64, 64, 64, 3).mean((1, 3))
        torch.testing.assert_close(coarse.double(), small(vertices), rtol=0, atol=0.06)


def test_a_picture_of_one_pixel_sees_the_middle() -> None:
    renderer, vertices = head_like(size=1, rings=12)
    picture = renderer(vertices)
    assert picture.shape == (1, 1, 3)
    assert picture.isfinite().all()


def test_a_surface_without_texture_coordinates_takes_one_colour_and_refuses_a_texture() -> None:
    renderer, vertices = head_like(size=16, rings=12)
    bare = Surface(renderer.surface.triangles)
    with pytest.raises(ChainRigError, match="no texture coordinates"):
        Renderer(bare, renderer.material, renderer.camera, renderer.light)
    plain = Material.plain(torch.full((1, 1, 3), 0.5).double())
    picture = Renderer(bare, plain, renderer.camera, renderer.light).double()(vertices)
    assert (picture[8, 8] - picture[0, 0]).abs().max() > 0.05


def test_a_mesh_that_does_not_fit_is_refused_in_a_sentence() -> None:
    renderer, vertices = head_like(size=8, rings=6)
    with pytest.raises(ChainRigError, match=r"needs at least \d+ vertices.*\(5, 3\)"):
        renderer(vertices[:5])
    with pytest.raises(ChainRigError, match="rows of three corners"):
        Surface(torch.zeros(4, 2, dtype=torch.int64))
    with pytest.raises(ChainRigError, match="texture coordinates number 7 of 3"):
        Surface(torch.zeros(1, 3, dtype=torch.int64), torch.zeros(3, 2), torch.tensor([[0, 1, 7]]))
    with pytest.raises(ChainRigError, match="4 channels"):
        Material(torch.zeros(8, 8, 3))


def parameters() -> dict[str, Tensor]:
    """Directions in which C2 can change, by the path of the parameter."""
    return {
        "material.texture": random(64, 64, 4, seed=1),
        "material.specular": torch.tensor(1.0).double(),
        "material.wrap": torch.tensor(-1.0).double(),
        "camera.focal_px": torch.tensor(30.0).double(),
        "camera.principal_point_px": torch.tensor([3.0, 2]).double(),
        "camera.view": random(2, 3, seed=2),
        "light.ambient": random(3, seed=3),
        "light.directional": random(3, seed=4),
        "light.direction": random(3, seed=5),
        "light.harmonics": random(9, 3, seed=6),
        "background": random(3, seed=7),
    }


@pytest.mark.parametrize("name", parameters())
def test_derivatives_by_every_parameter_of_the_renderer(name: str) -> None:
    renderer, vertices = wall(size=16)
    if name == "background":
        vertices = vertices * torch.tensor([0.5, 0.5, 1])
    # The surface's texels are a little larger than its samples, so that its mip levels are between two.
    direction, weights = parameters()[name], random(16, 16, 3, seed=8)
    start = renderer.get_buffer(name)

    def loss(step: Tensor) -> Tensor:
        changed = {name: start + step * direction}
        return (torch.func.functional_call(renderer, changed, (vertices,)) * weights).sum()

    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(zero), zero)
    step = torch.tensor(1e-6).double()
    difference = (loss(step) - loss(-step)) / (2 * step)
    assert abs(difference) > 1e-3
    assert abs(gradient - difference) < 2e-5 * abs(difference)
    along = torch.func.jvp(loss, (zero.detach(),), (torch.ones_like(zero),))[1]
    torch.testing.assert_close(along, gradient)


def test_a_view_that_zooms_in_turns_sharper_and_its_derivative_knows() -> None:
    vertices, uv, triangles = grid(1, 0.5)
    spots = Material.plain(random(64, 64, 3, low=0, high=1, seed=9))
    camera, here = square_camera(24, 30.0), vertices - torch.tensor([0.0, 0, 1]).double()
    renderer = Renderer(Surface(triangles, uv), spots, camera, Light.default(), samples=1).double()

    def contrast(focal: Tensor) -> Tensor:
        zoomed = {"camera.focal_px": focal}
        return torch.func.functional_call(renderer, zoomed, (here,))[7:17, 7:17].square().sum()

    focal = torch.tensor(30.0, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(contrast(focal), focal)
    difference = (contrast(focal + 1e-6) - contrast(focal - 1e-6)) / 2e-6
    assert gradient.item() == pytest.approx(difference.item(), rel=1e-5)


def test_vmap_over_meshes_is_the_batch_and_its_derivatives() -> None:
    renderer, vertices = head_like(size=16, rings=8)
    meshes = torch.stack([vertices, 1.1 * vertices, vertices + 0.01])
    directions, weights = random(*meshes.shape, seed=1), random(3, 16, 16, 3, seed=2)
    torch.testing.assert_close(torch.func.vmap(renderer)(meshes), renderer(meshes))

    def loss(mesh: Tensor, weight: Tensor) -> Tensor:
        return (renderer(mesh) * weight).sum()

    singly = torch.stack(
        [torch.func.grad(loss)(mesh, weight) for mesh, weight in zip(meshes, weights, strict=True)]
    )
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(meshes, weights), singly)
    along = torch.func.vmap(lambda mesh, direction: jvp(renderer, mesh, direction)[1])(meshes, directions)
    torch.testing.assert_close(along, jvp(renderer, meshes, directions)[1])
    moved = torch.func.jacfwd(lambda shift: torch.func.vmap(renderer)(meshes + shift))
    assert moved(torch.zeros(3).double()).shape == (3, 16, 16, 3, 3)


def test_vmap_refuses_derivatives_that_it_would_lose() -> None:
    renderer, vertices = head_like(size=8, rings=6)
    meshes = torch.stack([vertices, vertices])
    renderer.light.ambient.requires_grad_()
    with pytest.raises(ChainRigError, match="by its vertices only"):
        torch.func.vmap(renderer)(meshes)
    with pytest.raises(ChainRigError, match="give camera and light a batch"):
        focal = torch.tensor([30.0, 40.0]).double()
        torch.func.vmap(lambda f: torch.func.functional_call(renderer, {"camera.focal_px": f}, vertices))(
            focal
        )


def test_a_texture_changed_in_place_shows() -> None:
    renderer, vertices = wall(size=8)
    with torch.inference_mode():
        before = renderer(vertices).clone()
    renderer(vertices.requires_grad_()).sum().backward()  # after a look in inference mode
    renderer.material.texture.mul_(torch.tensor([0.5, 0.5, 0.5, 1]))
    assert (before - renderer(vertices)).min() > 0


def test_lights_of_a_batch_fit_the_pictures_or_are_refused() -> None:
    renderer, vertices = head_like(size=8, rings=6)
    meshes = torch.stack([vertices, 1.1 * vertices])
    renderer.light.ambient = random(2, 3, low=0.1)
    both = renderer(meshes)
    for i in range(2):
        renderer.light.ambient = random(2, 3, low=0.1)[i]
        torch.testing.assert_close(renderer(meshes[i]), both[i])
    renderer.light.ambient = random(1, 3, low=0.1)
    torch.testing.assert_close(renderer(meshes)[0], renderer(meshes[:1])[0])
    renderer.light.ambient = random(3, 3, low=0.1)
    with pytest.raises(ChainRigError, match=r"ambient has the batch \(3,\), the pictures have \(2,\)"):
        renderer(meshes)


def test_each_picture_of_a_batch_may_have_its_own_texture() -> None:
    renderer, vertices = wall(size=16)
    own = renderer.material.texture
    textures = torch.stack([own, own.flip(0), 0.5 * own]).requires_grad_()
    meshes = torch.stack([vertices, 1.1 * vertices, vertices + 0.01]).requires_grad_()
    weights = random(3, 16, 16, 3, seed=3)

    def drawn(texture: Tensor, points: Tensor, by: Tensor) -> tuple[Tensor, ...]:
        renderer.material.texture = texture
        picture = renderer(points)
        return picture.detach(), *torch.autograd.grad((picture * by).sum(), [texture, points])

    for way in (contextlib.nullcontext, fused.plain):
        with way():
            batch = drawn(textures, meshes, weights)
            assert (batch[0][0] - batch[0][1]).abs().max() > 0.05
            for i in range(3):
                texture, mesh = (given[i].detach().requires_grad_() for given in (textures, meshes))
                for together, alone in zip(batch, drawn(texture, mesh, weights[i]), strict=True):
                    torch.testing.assert_close(together[i], alone)
    renderer.material.texture = textures
    with pytest.raises(ChainRigError, match=r"texture is a batch of 3, the pictures are 2"):
        renderer(meshes[:2])


def test_a_vertex_that_is_not_a_number_leaves_the_camera_its_derivatives() -> None:
    renderer, vertices = wall(size=16, cells=8)
    vertices[40] = torch.nan
    renderer.camera.focal_px.requires_grad_()
    renderer(vertices).sum().backward()
    assert renderer.camera.focal_px.grad is not None and renderer.camera.focal_px.grad.isfinite()


def test_a_normal_map_bends_normals_as_it_says() -> None:
    vertices, uv, triangles = grid(2, 1.5)
    here = vertices - torch.tensor([0.0, 0, 1]).double()
    light = Light(torch.zeros(3), torch.ones(3), torch.tensor([1.0, 0, 1.0]))
    half = torch.tensor([0.5**0.5, 0, 0.5**0.5])  # towards u, that is to the right: into the light

    def brightness(bend: Tensor) -> float:
        material = Material(torch.ones(1, 1, 4), torch.tensor(0.0), torch.tensor(0.0), bend.expand(4, 4, 3))
        renderer = Renderer(Surface(triangles, uv), material, square_camera(8), light).double()
        return srgb.decode(renderer(here)).mean().item()

    assert brightness(torch.tensor([0.0, 0, 1])) == pytest.approx(0.5**0.5, abs=1e-3)
    assert brightness(half) == pytest.approx(1, abs=1e-3)
    assert brightness(half * torch.tensor([-1.0, 1, 1])) == pytest.approx(0, abs=1e-3)

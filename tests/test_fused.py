"""The compiled twins of the renderer's functions are held to the plain ones."""

import pytest
import torch
from scenes import cap_on_a_wall, head_like, random, two_balls
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pipeline.render import fused
from pipeline.render.composite import box_filter
from pipeline.render.outlines import Outlines, find_outlines, find_plainly
from pipeline.render.rasterize import seen_at, weigh
from pipeline.render.texture import Mipmaps

SCENES = {"ball": head_like, "two balls": two_balls, "cap": cap_on_a_wall}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("samples", [1, 3])
def test_pictures_and_gradients_are_those_of_the_plain_path(
    scene: str, samples: int, dtype: torch.dtype
) -> None:
    renderer, vertices, *_ = SCENES[scene](48, samples=samples)
    renderer, vertices = renderer.to(dtype), torch.stack([vertices, 1.05 * vertices]).to(dtype)
    renderer.material.texture.requires_grad_()
    weights = random(2, 48, 48, 3, seed=3).to(dtype)

    def picture_and_gradients() -> tuple[Tensor, ...]:
        point = vertices.clone().requires_grad_()
        picture = renderer(point)
        return picture, *torch.autograd.grad((picture * weights).sum(), [point, renderer.material.texture])

    quick = picture_and_gradients()
    assert any("Weigh" in name for name in history(quick[0]))  # it is not the plain one
    with fused.plain():
        plain = picture_and_gradients()
    assert not any("Weigh" in name for name in history(plain[0]))
    tolerance = 1e-9 if dtype == torch.float64 else 2e-3
    for found, expected in zip(quick, plain, strict=True):
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def history(picture: Tensor) -> set[str]:
    """The names of the steps that led to a picture."""
    names, todo = set(), [picture.grad_fn]
    seen = set()
    while todo:
        step = todo.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        names.add(step.name())
        todo += [before for before, _ in step.next_functions]
    return names


@pytest.mark.parametrize("scene", SCENES)
def test_outlines_are_those_that_the_plain_search_finds(scene: str) -> None:
    renderer, vertices, *_ = SCENES[scene](64)
    homogeneous = renderer.homogeneous(torch.stack([vertices, 1.03 * vertices]))
    fragments = renderer.rasterize(homogeneous)
    found = rows(find_outlines(fragments, homogeneous, renderer.surface))
    expected = rows(find_plainly(fragments, homogeneous, renderer.surface))
    assert len(found) > 100
    assert found == expected


def rows(outlines: Outlines) -> set[tuple[int, ...]]:
    columns = [outlines.axis, outlines.front, outlines.other, outlines.front_sample, outlines.other_sample]
    return set(map(tuple, torch.cat([torch.stack(columns, 1), outlines.edge], 1).tolist()))


def test_first_and_second_derivatives_of_the_twins() -> None:
    points = random(5, 3, seed=1) + torch.tensor([0.0, 0, 2]).double()
    corners = torch.tensor([[0, 1, 2], [2, 3, 4], [4, 0, 1]])
    centre, values = random(3, 2, seed=2), random(5, 2, seed=3)
    sizes = (1, 3, 2)
    texture, uv, level = random(4, 8, 2, seed=4), random(6, 2, low=0.15, high=0.85, seed=5), random(6, seed=6)
    functions = [
        (lambda p: seen_at(p, corners, centre), [points]),
        (lambda v, w: weigh(v, corners, w), [values, random(3, 3, seed=7)]),
        (lambda v: box_filter(torch.tensor([0, 5, 5, 23]), v, sizes, 2), [random(4, 2, seed=8)]),
        (lambda t, u, m: Mipmaps(t).sample(u, m), [texture, uv, 1.3 + level.abs() / 3]),
    ]
    for function, inputs in functions:
        inputs = [x.requires_grad_() for x in inputs]
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)

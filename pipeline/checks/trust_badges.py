"""How far the derivatives of a chain can be trusted at one point: the battery in brief, for reports."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.checks import questions
from pipeline.checks.badge import Badge
from pipeline.checks.outlines import outline_error
from pipeline.checks.questions import TINY_STEPS, Directions
from pipeline.controls import ControlSpace
from pipeline.derivatives.automatic import jvp, vjp
from pipeline.derivatives.finite_differences import relative_error
from pipeline.derivatives.trust import random_direction
from pipeline.layer import Layer, Pipeline

PICTURE = ("row", "column", "rgb")
OUTLINES = "outlines against supersampling"


def trust_badges(
    chain: Pipeline,
    x: Tensor,
    controls: Sequence[str] | None = None,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> tuple[Badge, ...]:
    """Every layer of deform → render → detect, and the chain: 15 s at 256 × 256 on one core.

    Args:
        chain: `pipeline.chain.build_chain`'s; it is copied, not changed.
        x: `(K,)` the controls at which it is asked.
        controls: those whose columns are examined; all if omitted.
        on_progress: called with what is being done, in words.
    """
    deform, render, detect = (questions.in_float64(layer) for layer in chain)
    precise = Pipeline([deform, render, detect])
    space: ControlSpace = deform.controls  # type: ignore[assignment]
    names = list(space.names) if controls is None else list(controls)
    x = x.double()
    with torch.no_grad():
        stations = precise.stations(x)
    columns = {name: _unit(space, name) for name in names}
    mixed = _by_group(space, names)
    whole = {"": torch.stack(list(mixed.values())).sum(0)}  # beyond the rig every question costs pictures

    on_progress(f"checking {deform.name}")
    badges = [
        questions.adjoint_identity(deform, x, mixed),
        questions.slope(deform, x, columns),
        questions.precision(deform, x, mixed, 1e-5),
    ]
    on_progress(f"checking {render.name}")
    moved = {"": jvp(deform, x, whole[""])[1]}
    badges += [
        questions.adjoint_identity(render, stations[1], moved),
        questions.slope(
            render,
            stations[1],
            moved,
            steps=TINY_STEPS[::2],
            gap=questions.inside_surfaces,
            note="inside surfaces: the 99 % of pixels that agree best",
        ),
        questions.precision(render, stations[1], moved, 2e-2, "samples beside outlines may see another part"),
        outlines_badge(render, stations[1], rigid_motions(space, deform, x), on_progress),
    ]
    on_progress(f"checking {detect.name}")
    drawn = {"": jvp(render, stations[1], moved[""])[1]}
    badges += [
        questions.adjoint_identity(detect, stations[2], drawn),
        detector_slope(detect, stations[2], drawn, smoothing_of(list(chain)[2])),
        questions.precision(detect, stations[2], drawn, 2e-2, "rectifiers at a kink may switch"),
    ]
    on_progress("checking the chain")
    note = "kinks and outlines on the way: see the layers"
    badges += [
        _as_chain(questions.adjoint_identity(precise, x, whole, 1e-6)),
        products_against_backward(precise, x, whole, {"": jvp(detect, stations[2], drawn[""])[1]}),
        _as_chain(questions.precision(precise, x, whole, 0.1, note)),
    ]
    return tuple(badges)


def outlines_badge(
    render: Layer, vertices: Tensor, motions: Directions, on_progress: Callable[[str], None]
) -> Badge:
    """The mean error of several motions in float32, which values of pictures do not need more than."""
    single, found = questions.in_float64(render).float(), {}
    for name, motion in motions.items():
        on_progress(f"checking {render.name}: outlines, {name}")
        found[name] = outline_error(single, vertices.float(), motion.float())
    value = (sum(error**2 for error in found.values()) / len(found)) ** 0.5
    note = f"root mean square over {' and '.join(found)} of the head; less exact where lips or lids touch"
    return Badge(render.name, OUTLINES, value, 0.05, note, max(found, key=lambda name: found[name]))


def detector_slope(detect: Layer, picture: Tensor, directions: Directions, smoothing: float) -> Badge:
    note = "its own derivative, steps ≤ 1e-6 because of its kinks"
    if smoothing > 0:
        note += f"; a fit smooths it on purpose (width {smoothing:g})"
    return questions.slope(detect, picture, directions, 1e-5, TINY_STEPS, note=note)


def products_against_backward(chain: Layer, x: Tensor, directions: Directions, pushed: Directions) -> Badge:
    """gᵀ(J₃(J₂(J₁ d))) for several d, the layers one after the other, against (Jᵀg)·d, all at once."""
    some = next(iter(pushed.values()))
    g = random_direction(some, 5) + some * (some.numel() ** 0.5 / some.norm().clamp(min=1e-30))
    back = vjp(chain, x)[1](g)
    product = torch.stack([(g * one).sum() for one in pushed.values()])
    whole = torch.stack([(back * d).sum() for d in directions.values()])
    return Badge(
        "chain",
        "product against one backward",
        relative_error(product, whole),
        1e-8,
        "layer by layer, in float64",
    )


def rigid_motions(space: ControlSpace, deform: Layer, x: Tensor) -> dict[str, Tensor]:
    """Two motions of the whole head: a shift, and a turn that comes nearer."""
    shift = space.pack({"headTranslationX": 1.0, "headTranslationY": 0.7}, torch.zeros_like(x))
    turn = space.pack({"headTranslationZ": 1.0, "headRotationY": 0.2}, torch.zeros_like(x))
    return {"a shift": jvp(deform, x, shift)[1], "a turn": jvp(deform, x, turn)[1]}


def natural_step(space: ControlSpace) -> Tensor:
    """`(K,)` what a control does in photographs: an expression 1, a rotation 0.5 rad, a shift 5 cm."""
    steps = {"": 1.0, "rad": 0.5, "m": 0.05}
    return torch.tensor([steps[control.unit] for control in space.controls], dtype=torch.float64)


def smoothing_of(detect: Layer) -> float:
    width = getattr(detect, "smoothing", 0.0)
    return float(width) if isinstance(width, int | float) else 0.0


def _by_group(space: ControlSpace, names: Sequence[str]) -> dict[str, Tensor]:
    """For each group of controls, all that are examined at once, with signs at random."""
    signs = random_direction(space.rest).sign() * natural_step(space)
    directions = {}
    for group, place in space.groups.items():
        members = {n: float(signs[space.index(n)]) for n in names if n in space.names[place]}
        if members:
            directions[group] = space.pack(members, torch.zeros_like(space.rest))
    return directions


def _unit(space: ControlSpace, name: str) -> Tensor:
    return space.pack({name: 1.0}, torch.zeros_like(space.rest))


def _as_chain(badge: Badge) -> Badge:
    return replace(badge, layer="chain")

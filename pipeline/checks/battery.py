"""All questions that fit a layer, asked one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from pipeline.checks import questions
from pipeline.checks.badge import Badge
from pipeline.checks.outlines import motions, outline_error
from pipeline.checks.questions import STEPS, TINY_STEPS
from pipeline.checks.subject import Subject
from pipeline.derivatives.automatic import jvp, vjp
from pipeline.derivatives.chain_rule import chain_jacobian
from pipeline.derivatives.trust import random_direction
from pipeline.errors import ChainRigError
from pipeline.layer import Layer, Pipeline

# Relative errors that are taken as right.
ADJOINT, ADJOINT_CHAIN = 1e-9, 1e-6
SLOPE, SLOPE_KINKS, SLOPE_CHAIN = 1e-6, 1e-5, 0.3
OUTLINES = 0.05
PRODUCT = 1e-8
SINGLE, SINGLE_PICTURES, SINGLE_CHAIN = 1e-4, 2e-2, 0.1

Question = Callable[[], Badge]
Asked = dict[str, Question]


def in_full(subject: Subject) -> Asked:
    """What a layer is asked, by name, what tells most first; a chain is asked what its layers cannot be."""
    if isinstance(subject.layer, Pipeline) and subject.layer.name == "chain":
        return for_chain(subject)
    layer, x, one = subject.layer, subject.x, next(iter(subject.directions.values()))
    asked: Asked = {
        "batch against loop: values": lambda: questions.batch_values(layer, x, one),
        "batch against loop: derivatives": lambda: questions.batch_derivatives(layer, x, one),
        "float64 throughout": lambda: double_throughout(subject),
        **in_brief(subject),
        "silently zero": lambda: silent_zeros(subject),
    }
    if questions.has_shortcut(layer):
        columns = subject.columns or subject.directions
        asked["hand-written against automatic"] = lambda: questions.shortcut(layer, x, columns)
    return asked


def in_brief(subject: Subject) -> Asked:
    """The questions of a report."""
    layer, x = subject.layer, subject.x
    asked: Asked = {
        "adjoint identity": lambda: questions.adjoint_identity(layer, x, subject.directions, ADJOINT),
        "against differences": lambda: slope(subject),
    }
    if subject.draws:
        asked["outlines against supersampling"] = lambda: outlines(subject)
    asked["float32 against float64"] = lambda: precision(subject)
    return asked


def for_chain(subject: Subject) -> Asked:
    """What the layers are together."""
    chain, x = subject.layer, subject.x
    note = "as its layers"
    return {
        "adjoint identity": lambda: questions.adjoint_identity(chain, x, subject.directions, ADJOINT_CHAIN),
        "against differences": lambda: chain_slope(subject),
        "product against one backward": lambda: product_against_backward(subject),
        "float32 against float64": lambda: questions.precision(chain, x, subject.last, SINGLE_CHAIN, note),
    }


def ask(layer: Layer, asked: Asked) -> Iterator[Badge]:
    """The answers. A question that a layer cannot take at all is one that it fails."""
    for name, question in asked.items():
        try:
            yield question()
        except ChainRigError as error:
            yield Badge(layer.name, name, torch.inf, 0.0, str(error))
        except Exception as error:  # whatever a stranger's layer may raise
            reason = " ".join(str(error).split())
            yield Badge(layer.name, name, torch.inf, 0.0, f"it raises {type(error).__name__}: {reason}")


def slope(subject: Subject) -> Badge:
    """J d against differences, by the rules of the layer's kind."""
    layer, x, directions = subject.layer, subject.x, subject.directions
    if subject.draws:
        inside = "the 99 % of pixels that agree best"
        rules = (SLOPE, TINY_STEPS, questions.inside_surfaces, inside)
    elif subject.looks:
        note = f"the chain smooths it on purpose ({subject.smoothing:g})" if subject.smoothing > 0 else ""
        rules = (SLOPE_KINKS, TINY_STEPS, questions.gap, note)
    elif subject.columns:
        return questions.slope(layer, x, subject.columns, subject.column_derivatives, SLOPE)
    else:
        return questions.slope(layer, x, directions, subject.derivatives, SLOPE)
    return questions.slope(layer, x, directions, subject.derivatives, *rules)


def chain_slope(subject: Subject) -> Badge:
    """J d of the whole chain against differences over tiny steps.

    The one pixel in a hundred whose slope is none (see `slope`) is part of what the detector looks at, so the
    limit is wide: it finds a derivative that is lost or wrong, not one that is rough.
    """
    one = subject.last
    derivatives = {name: jvp(subject.layer, subject.x, d)[1] for name, d in one.items()}
    note = "with the pixels at outlines, whose own slope says little"
    return questions.slope(
        subject.layer, subject.x, one, derivatives, SLOPE_CHAIN, TINY_STEPS[::2], note=note
    )


def silent_zeros(subject: Subject) -> Badge:
    step = TINY_STEPS[0] if subject.draws or subject.looks else STEPS[0]
    return questions.silent_zeros(subject.layer, subject.x, subject.directions, subject.derivatives, step)


def double_throughout(subject: Subject) -> Badge:
    gap = questions.inside_surfaces if subject.draws else questions.gap
    return questions.double_throughout(subject.layer, subject.x, subject.last, gap=gap)


def precision(subject: Subject) -> Badge:
    if subject.draws:
        limit, note = SINGLE_PICTURES, "samples beside outlines may switch"
    elif subject.looks:
        limit, note = SINGLE_PICTURES, "rectifiers at a kink may switch"
    else:
        limit, note = SINGLE, ""
    return questions.precision(subject.layer, subject.x, subject.last, limit, note)


def outlines(subject: Subject) -> Badge:
    """In float32, which is all that pictures need; the root mean square of three motions."""
    renderer, vertices = questions.in_float64(subject.layer).float(), subject.x.float()
    found = {
        name: outline_error(renderer, vertices, motion)
        for name, motion in motions(renderer, vertices).items()
    }
    badge = questions.worst_of(renderer, "outlines against supersampling", found, OUTLINES)
    mean = (sum(error**2 for error in found.values()) / len(found)) ** 0.5
    note = "mean of three motions; less exact where lips or lids touch"
    return questions.noted(replace(badge, value=mean), note)


def product_against_backward(subject: Subject, columns: int = 3) -> Badge:
    """gᵀ(∂X₄/∂X₃ · ∂X₃/∂X₂ · ∂X₂/∂X₁) of some columns, layer by layer, against Jᵀg in one go."""
    chain, x, names = subject.layer, subject.x, list(subject.columns)
    assert isinstance(chain, Pipeline)
    some = names[:: max(1, len(names) // columns)][:columns]
    J = chain_jacobian(chain, x, columns={"control": some}).jacobian.matrix
    y, pull = vjp(chain, x)
    g = random_direction(y)
    units = torch.stack([subject.columns[name].sign() for name in some])
    value = questions.gap(g.flatten() @ J, units @ pull(g))
    note = f"e.g. {some[0]}"
    return Badge(chain.name, "product against one backward", value, PRODUCT, note)

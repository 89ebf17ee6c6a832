"""What this photo can tell: which controls it determines, which it confuses, which it does not see."""

from typing import NamedTuple

import torch
from torch import Tensor

from pipeline import uncertainty
from pipeline.controls import Control
from pipeline.detect.embedding import SCORED
from pipeline.inspection.findings import Columns, Observability, TradeOff
from pipeline.inspection.recipes import Sliders, weak_directions
from pipeline.inspection.scene import Scene
from pipeline.inspection.wording import figure, listed

NEAR_END = 0.02  # of the range
DOUBTFUL_PX = 2.0  # motions of landmarks below this are asked of the chain itself
CORRELATED = 0.3  # correlation of errors from which two controls count as a trade-off
PAIRS = 6  # trade-offs that are named
HIDDEN = 0.5  # a control counts as imitated if others leave less than this part of its motion
WAY = 0.3  # of its range, that it goes for this
FAINT = 0.75  # size of what a control's prior spread does to the landmarks, in units of their errors


def observe(scene: Scene, columns: Columns, directions: int = 2, worst: int = 3) -> Observability:
    """What the scene's landmarks tell of the controls of `columns`.

    The Jacobian is the chain's for these controls, and the stand-in's for all others of the rig: what is not
    known of them (of the head's shape, say) is part of every ±. For the singular values, a control counts in
    parts of its range (a turn of 1 rad, a shift of 10 cm), and landmarks in units of the error that the fit
    allows them, see pipeline/uncertainty.py: directions below 1 are drowned by errors of the landmarks.

    Args:
        directions: weak directions wanted.
        worst: least determined controls wanted.
    """
    space, x = scene.rig.controls, scene.x
    place = torch.tensor([space.index(name) for name in columns.names])
    weight = uncertainty.whitening(scene.rig)
    jacobian = uncertainty.cheap_jacobian(scene.objective, scene.rig, x) * weight[:, None]
    of_chain = columns.landmarks[:, list(SCORED), :2].flatten(1).double().T * scene.objective.scale.weight
    jacobian[:, place] = of_chain * weight[:, None]
    residual = scene.objective.residual(x) * weight
    known = uncertainty.posterior(jacobian, residual, scene.prior, x)
    range_px = _full_range_px(scene, place)
    unseen = uncertainty.unobservable(columns.controls, range_px)

    low, high = (end[place] for end in uncertainty.ranges(space, x))
    span = high - low
    room = (low - x[place]).clamp(max=0) / span, (high - x[place]).clamp(min=0) / span
    whitened = jacobian[:, place] * span
    seen = range_px >= uncertainty.VISIBLE_PX
    sliders = Sliders(columns, scene.stand_in, place, x, span, *room, whitened, seen)
    leaders = [k for k, one in enumerate(columns.controls) if seen[k] and one.group != "pose"]
    moves = weak_directions(sliders, leaders, directions)

    facts = Facts(
        columns.controls,
        x[place],
        known.sd[place],
        uncertainty.prior_sd(scene.prior, x)[place],
        range_px,
        known.covariance[place][:, place],
        sliders,
        error_px=1 / scene.objective.scale.weight,
    )
    pairs = _trade_offs(facts)
    return Observability(
        names=columns.names,
        sd=facts.sd,
        prior_sd=facts.prior_sd,
        full_range_px=range_px,
        singular_values=torch.linalg.svdvals(whitened),
        weakest=tuple(sliders.recipe(move) for move in moves),
        trade_offs=tuple(pairs),
        unobservable=unseen,
        least_determined=tuple((columns.names[k], _reason(facts, k)) for k in _worst(facts)[:worst]),
        sentences=tuple(_sentences(facts, pairs)),
    )


@torch.no_grad()
def _full_range_px(scene: Scene, place: Tensor) -> Tensor:
    """`(K,)` how far each control's full range moves the landmark that moves most.

    By the stand-in; where that is little, by the chain: the detector may see what lies off its landmarks'
    places, as a tongue, and miss what moves them, as the gaze behind a closed lid.
    """
    space, x = scene.rig.controls, scene.x
    range_px = uncertainty.full_range_px(scene.stand_in, space, x)[place]
    ends = torch.stack(uncertainty.ranges(space, x))
    for k in (range_px < DOUBTFUL_PX).nonzero().squeeze(-1).tolist():
        there = x.repeat(2, 1)
        there[:, place[k]] = ends[:, place[k]]
        low, high = (scene.chain(one.to(scene.objective.target.dtype))[list(SCORED), :2] for one in there)
        range_px[k] = (high - low).norm(dim=-1).max()
    return range_px


class Facts(NamedTuple):
    """What the sentences are made of; one entry a control."""

    controls: tuple[Control, ...]
    value: Tensor
    sd: Tensor
    prior_sd: Tensor
    range_px: Tensor
    covariance: Tensor
    sliders: Sliders
    error_px: float

    @property
    def left(self) -> Tensor:
        """`(K,)` what the photo leaves of the ± before it: 1: nothing was learnt."""
        return (self.sd / self.prior_sd).nan_to_num(0.0).clamp(max=1)  # held: 0 / 0

    @property
    def correlation(self) -> Tensor:
        sd = self.covariance.diagonal().clamp(min=1e-30).sqrt()
        return self.covariance / torch.outer(sd, sd) - torch.eye(len(sd)).to(sd)


def _worst(facts: Facts) -> list[int]:
    """Places of the controls, least determined first; among equals, what moves least comes first."""
    left, px = (facts.left * 50).round().tolist(), facts.range_px.tolist()
    return sorted(range(len(px)), key=lambda k: (-left[k], px[k]))


def _trade_offs(facts: Facts) -> list[TradeOff]:
    """The pairs whose errors are most correlated; that the six of the pose are, goes without saying."""
    pose = torch.tensor([control.group == "pose" for control in facts.controls])
    correlation = facts.correlation.triu(1).masked_fill(torch.outer(pose, pose), 0)
    order = correlation.abs().flatten().argsort(descending=True)[:PAIRS].tolist()
    names, found = [control.name for control in facts.controls], []
    for first, second in (divmod(at, len(names)) for at in order):
        value = float(correlation[first, second])
        if abs(value) >= CORRELATED:
            found.append(TradeOff(names[first], names[second], value))
    return found


def _reason(facts: Facts, k: int) -> str:
    """Why the photo does not tell this control: the first thing that explains it."""
    control, sliders = facts.controls[k], facts.sliders
    name, px = control.name, float(facts.range_px[k])
    if px < uncertainty.VISIBLE_PX:
        least = figure(max(px, 0.1), 1)
        return f"{name} cannot be seen here: its full range moves no landmark by more than {least} px"
    if sliders.linear_px(torch.eye(len(facts.value)).to(sliders.span)[k]) < uncertainty.VISIBLE_PX:
        return (
            f"{name} does not show from here: about its value no landmark moves, although its full range "
            f"moves one by {figure(px)} px"
        )
    if control.group != "pose" and float(sliders.high[k]) <= NEAR_END:
        return f"{name} is at the end of its range: the photo says only that it is large"
    signal = sliders.whitened[:, k].norm() / sliders.span[k] * facts.prior_sd[k]
    imitated = None if signal < FAINT else _imitation(facts, k)
    return imitated or (
        f"{name} hardly shows here: its full range moves no landmark by more than {figure(px)} px, and each "
        f"landmark is trusted to {figure(facts.error_px)} px only"
    )


def _imitation(facts: Facts, k: int) -> str | None:
    """The sentence that others look like this control, if they do."""
    sliders, names = facts.sliders, [control.name for control in facts.controls]
    way = float(sliders.low[k]) if sliders.high[k] < WAY else WAY
    alone = torch.zeros_like(sliders.span)
    alone[k] = way
    together = sliders.compensate(k, way, helpers=2)
    before, after = sliders.px(alone), sliders.px(together)
    helpers = [i for i in together.abs().argsort(descending=True).tolist() if together[i] != 0 and i != k]
    if not helpers or after > HIDDEN * before:
        return None
    others = [f"{'raising' if together[i] > 0 else 'lowering'} {names[i]}" for i in helpers]
    turned, amount = "raising" if way > 0 else "lowering", figure(abs(way * float(sliders.span[k])), 1)
    return (
        f"{names[k]} can be imitated from here: {turned} it by {amount} moves a landmark by "
        f"{figure(before)} px, but by no more than {figure(after)} px together with {listed(others)}"
    )


def _sentences(facts: Facts, pairs: list[TradeOff]) -> list[str]:
    """The whole in numbers, then what trades off."""
    left = facts.left
    told, untold = int((left <= 1 / 3).sum()), int((left > 0.9).sum())
    found = [
        f"Of {len(left)} controls, the photo narrows {told} down to a third or less of what was open before, "
        f"and tells next to nothing of {untold}."
    ]
    for pair in pairs[:3]:
        other = "low" if pair.correlation < 0 else "high"
        found.append(
            f"{pair.first} and {pair.second} trade off (correlation of their errors {pair.correlation:.2f}): "
            f"if one is too high, the other is probably too {other}."
        )
    return found

"""What this photo can tell: which controls it determines, which it confuses, which it does not see."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline import uncertainty
from pipeline.controls import Control
from pipeline.inspection.findings import Columns, Observability, Recipe, TradeOff
from pipeline.inspection.recipes import Sliders, weak_directions
from pipeline.inspection.scene import Scene
from pipeline.inspection.wording import figure, listed, measured

NEAR_END = 0.02  # of the range
CORRELATED = 0.3  # correlation of errors from which two controls count as a trade-off
ALIKE = 0.9  # cosine of what two controls do to the landmarks, from which they do
SAME = 0.98  # cosine of their motions of the mesh, from which they are one
TORN = 1.1  # a ± that the photo widens by this
PAIRS = 6  # trade-offs of either kind that are named
CANDIDATES = 6  # slider moves that are tried in the chain
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
    objective, compared = scene.objective, scene.objective.comparison
    residual = objective.residual(x)
    weight = uncertainty.whitening(objective, scene.spread, len(residual))
    jacobian = uncertainty.cheap_jacobian(objective, scene.rig, x)
    of_chain = compared.detected(columns.landmarks.double()).flatten(1).T * objective.per_pixel[:, None]
    by_chain = (~compared.on_rig).repeat_interleave(2).nonzero()  # of the others the stand-in knows best
    jacobian[by_chain, place] = of_chain[by_chain.squeeze(-1)]
    jacobian = jacobian * weight[:, None]
    residual = residual * weight * scene.at_fit  # elsewhere it tells nothing of the errors
    known = uncertainty.posterior(jacobian, residual, scene.prior, x)
    range_px = _full_range_px(scene, place)
    unseen = uncertainty.unobservable(columns.controls, range_px)

    low, high = (end[place] for end in uncertainty.ranges(space, x))
    span = high - low
    low, high = torch.maximum(low, scene.prior.low[place]), torch.minimum(high, scene.prior.high[place])
    room = (low - x[place]).clamp(max=0) / span, (high - x[place]).clamp(min=0) / span
    whitened = jacobian[:, place] * span
    held = (scene.prior.low >= scene.prior.high)[place]
    seen = (range_px >= uncertainty.VISIBLE_PX) & ~held
    sliders = Sliders(columns, objective, place, x, span, *room, whitened, seen)
    leaders = [k for k, one in enumerate(columns.controls) if seen[k] and one.group != "pose"]
    moves = weak_directions(sliders, leaders, CANDIDATES)
    recipes = [_recipe(scene, sliders, move) for move in moves]
    recipes.sort(key=lambda recipe: -recipe.vertex_mm)

    facts = Facts(
        columns.controls,
        x[place],
        known.sd[place],
        uncertainty.prior_sd(scene.prior, x)[place],
        range_px,
        known.covariance[place][:, place],
        known.offset[place],
        sliders,
    )
    return Observability(
        names=columns.names,
        sd=facts.sd,
        prior_sd=facts.prior_sd,
        full_range_px=range_px,
        singular_values=torch.linalg.svdvals(whitened),
        weakest=tuple(recipes[:directions]),
        trade_offs=tuple(_alike(facts) + _correlated(facts)),
        unobservable=unseen,
        least_determined=tuple((columns.names[k], _told(facts, k)) for k in _worst(facts)[:worst]),
        sentences=(_in_numbers(facts),),
    )


@torch.no_grad()
def _full_range_px(scene: Scene, place: Tensor) -> Tensor:
    """`(K,)` how far each control's full range moves the compared point that moves most.

    By the chain; of the pose, whose range is a matter of words, by the stand-in.
    """
    space, x = scene.rig.controls, scene.x
    range_px = uncertainty.full_range_px(scene.objective, space, x)[place]
    ends = torch.stack(uncertainty.ranges(space, x))
    for k, index in enumerate(place.tolist()):
        if space.controls[index].group != "pose":
            there = x.repeat(2, 1)
            there[:, index] = ends[:, index]
            low, high = (_landmarks(scene, one) for one in there)
            range_px[k] = (high - low).norm(dim=-1).max()
    return range_px


def _landmarks(scene: Scene, x: Tensor) -> Tensor:
    """The compared points `(M, 2)` as the chain's detector has them."""
    return scene.objective.comparison.detected(scene.chain(x.to(scene.objective.dtype)))


@torch.no_grad()
def _recipe(scene: Scene, sliders: Sliders, move: Tensor) -> Recipe:
    """The move as sliders, shortened until the chain, too, moves no landmark by more than may be seen."""
    start = _landmarks(scene, scene.x)
    for _ in range(6):
        there = scene.x.index_add(0, sliders.place, move * sliders.span)
        moved = float((_landmarks(scene, there) - start).norm(dim=-1).max())
        if moved <= uncertainty.VISIBLE_PX:
            break
        move = move * (0.9 * uncertainty.VISIBLE_PX / moved)
    recipe = sliders.recipe(move)
    return replace(recipe, landmark_px=max(recipe.landmark_px, moved))


class Facts(NamedTuple):
    """What the sentences are made of; one entry a control."""

    controls: tuple[Control, ...]
    value: Tensor
    sd: Tensor
    prior_sd: Tensor
    range_px: Tensor
    covariance: Tensor
    offset: Tensor
    sliders: Sliders

    @property
    def left(self) -> Tensor:
        """`(K,)` what the photo leaves of the ± before it: 1: nothing was learnt."""
        return (self.sd / self.prior_sd).nan_to_num(0.0).clamp(max=1)  # held: 0 / 0

    @property
    def slope_px(self) -> Tensor:
        """`(K,)` how far the full range would move a landmark, were it as about the value."""
        columns = self.sliders.objective.comparison.detected(self.sliders.columns.landmarks.double())
        return columns.norm(dim=-1).amax(-1) * self.sliders.span

    @property
    def correlation(self) -> Tensor:
        sd = self.covariance.diagonal().clamp(min=1e-30).sqrt()
        return self.covariance / torch.outer(sd, sd) - torch.eye(len(sd)).to(sd)


def _worst(facts: Facts) -> list[int]:
    """Places of the controls, least determined first: those that do not show, then those of which most of
    the doubt is left, among equals by how much of their range that is.
    """
    unseen = (torch.minimum(facts.range_px, facts.slope_px) < uncertainty.VISIBLE_PX).tolist()
    left, sd = (facts.left * 50).round().tolist(), (facts.sd / facts.sliders.span).tolist()
    return sorted(range(len(sd)), key=lambda k: (not unseen[k], -left[k], -sd[k]))


def _alike(facts: Facts) -> list[TradeOff]:
    """The pairs that move the landmarks most alike, or most oppositely; those of the pose are known."""
    unit = facts.sliders.whitened / facts.sliders.whitened.norm(dim=0).clamp(min=1e-12)
    return _pairs(facts, unit.T @ unit, ALIKE)


def _correlated(facts: Facts) -> list[TradeOff]:
    """The other pairs whose errors are most correlated."""
    already = {(pair.first, pair.second) for pair in _alike(facts)}
    found = _pairs(facts, facts.correlation, CORRELATED)
    return [pair for pair in found if (pair.first, pair.second) not in already]


def _pairs(facts: Facts, strength: Tensor, least: float) -> list[TradeOff]:
    pose = torch.tensor([control.group == "pose" for control in facts.controls])
    strength = strength.triu(1).masked_fill(torch.outer(pose, pose), 0)
    order = strength.abs().flatten().argsort(descending=True)[:PAIRS].tolist()
    unit = facts.sliders.whitened / facts.sliders.whitened.norm(dim=0).clamp(min=1e-12)
    names, found = [control.name for control in facts.controls], []
    for first, second in (divmod(at, len(names)) for at in order):
        if float(strength[first, second].abs()) >= least:
            cosine, correlation = float(unit[:, first] @ unit[:, second]), facts.correlation[first, second]
            found.append(TradeOff(names[first], names[second], float(correlation), cosine))
    return found


def _told(facts: Facts, k: int) -> str:
    """Why the photo does not tell this control, and what is left."""
    sd, before = float(facts.sd[k]), float(facts.prior_sd[k])
    unit = facts.controls[k].unit
    known = f"; without the photo ± {measured(before, None, unit)}" if math.isfinite(before) else ""
    return f"{_reason(facts, k)} (± {measured(sd, None, unit)}{known})"


def _reason(facts: Facts, k: int) -> str:
    """The first thing that explains it."""
    control, sliders = facts.controls[k], facts.sliders
    name, px = control.name, float(facts.range_px[k])
    if px < uncertainty.VISIBLE_PX:
        least = figure(max(px, 0.1), 1)
        return f"{name} cannot be seen here: its full range moves no landmark by more than {least} px"
    if float(facts.slope_px[k]) < uncertainty.VISIBLE_PX:
        return (
            f"{name} does not show from here: about its value no landmark moves, although its full range "
            f"moves one by {figure(px)} px"
        )
    if control.group != "pose" and float(sliders.high[k]) <= NEAR_END:
        return f"{name} is at the end of its range: the photo says only that it is large"
    twin = _twin(facts, k)
    if twin is not None:
        return twin
    signal = sliders.whitened[:, k].norm() / sliders.span[k] * facts.prior_sd[k]
    if signal < FAINT:
        return (
            f"{name} hardly shows here: moved over all that is plausible without the photo, it shifts the "
            "landmarks by less than the errors that the fit allows them"
        )
    if float(facts.sd[k]) > TORN * float(facts.prior_sd[k]):
        way = "up" if facts.offset[k] > 0 else "down"
        return (
            f"{name} is torn: the fit left it at {float(facts.value[k]):.2f}, and the landmarks pull it "
            f"{way}: over all that they allow it is {float(facts.value[k] + facts.offset[k]):.2f} on average"
        )
    imitated = _imitation(facts, k)
    return imitated or f"{name} shows, but hardly apart from the many others that move the same landmarks"


def _twin(facts: Facts, k: int) -> str | None:
    """The sentence that another control is the same motion of the mesh, if one is."""
    motion = facts.sliders.columns.vertices.flatten(1).double()
    unit = motion / motion.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    cosine = unit @ unit[k]
    cosine[k] = 0
    other = int(cosine.abs().argmax())
    if float(cosine[other].abs()) < SAME:
        return None
    way = "the same motion" if cosine[other] > 0 else "the same motion, the other way"
    names = [control.name for control in facts.controls]
    return f"{names[k]} is {way}, as {names[other]} in this rig: no photo tells them apart"


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


def _in_numbers(facts: Facts) -> str:
    left = facts.left[facts.sd > 0]  # held controls are known without a photo
    told, untold = int((left <= 1 / 3).sum()), int((left > 0.9).sum())
    return (
        f"Of {len(left)} controls, the photo narrows {told} down to a third or less of what is plausible "
        f"without it, and tells little or nothing of {untold}."
    )

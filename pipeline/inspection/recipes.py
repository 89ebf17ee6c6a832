"""Slider moves that the landmarks hardly see: one slider goes, a few others make up for it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.inspection.findings import Columns, Recipe
from pipeline.objective import LandmarkObjective
from pipeline.solve.box_qp import solve_box_qp
from pipeline.uncertainty import VISIBLE_PX

HELPERS = 4  # sliders that make up for the one that goes
WORTH = 0.05  # a helper must take away this part of what is left of the motion (squared)
SMALL = 0.03  # helpers that go less than this part of the leading slider's way are left out
LITTLE = 0.02  # room that is none, in parts of the range
ALIKE = 0.7  # cosine from which two directions count as the same


@dataclass(frozen=True)
class Sliders:
    """K controls, their room and what they do to the landmarks. A move is `(K,)` in parts of `span`.

    Attributes:
        columns: the chain's.
        objective: which points count, and where the rig has them.
        place: `(K,)` where the controls stand in X1.
        x: X1, float64.
        span: `(K,)` the control's whole range.
        low, high: `(K,)` parts of `span` by which it may fall (≤ 0) and rise (≥ 0).
        whitened: `(M, K)` ∂residual/∂move.
        seen: `(K,)` whether a slider may make up for others: one that no landmark sees cannot.
    """

    columns: Columns
    objective: LandmarkObjective
    place: Tensor
    x: Tensor
    span: Tensor
    low: Tensor
    high: Tensor
    whitened: Tensor
    seen: Tensor

    def linear_px(self, move: Tensor) -> float:
        """How far the compared point that moves most moves, by the chain's columns."""
        shift = torch.einsum("k,klc->lc", move * self.span, self.columns.landmarks[..., :2].double())
        return float(self.objective.comparison.detected(shift).norm(dim=-1).max())

    @torch.no_grad()
    def px(self, move: Tensor) -> float:
        """The same, and by the stand-in moved all the way: the larger of the two."""
        there = self.x.index_add(0, self.place, move * self.span)
        stand_in = self.objective.stand_in_chain
        shift = self.objective.comparison.embedded(stand_in(there) - stand_in(self.x))
        return max(float(shift.norm(dim=-1).max()), self.linear_px(move))

    def compensate(self, leader: int, way: float, helpers: int = HELPERS) -> Tensor:
        """The move in which `leader` goes `way`, and the helpers that serve best make up for it."""
        gram = self.whitened.T @ self.whitened
        move = torch.zeros_like(self.span)
        move[leader] = way
        chosen: list[int] = []
        left = gram[leader, leader] * way**2
        for _ in range(helpers):
            slope = gram @ move
            step = (-slope / gram.diagonal().clamp(min=1e-12)).clamp(self.low - move, self.high - move)
            gain = -(2 * slope * step + gram.diagonal() * step.square())
            gain[[leader, *chosen]] = 0
            gain = torch.where(self.seen, gain, 0)
            best = int(gain.argmax())
            if gain[best] <= WORTH * left:
                break
            chosen.append(best)
            pick = torch.tensor(chosen)
            inner = gram[pick][:, pick]
            inner = inner + 1e-9 * inner.diagonal().mean() * torch.eye(len(pick)).to(inner)
            move[pick] = solve_box_qp(inner, gram[pick, leader] * way, self.low[pick], self.high[pick])
            left = move @ gram @ move
        return move

    def hide(self, leader: int, room: float, limit_px: float) -> Tensor:
        """The furthest that `leader` goes (to `room` at most) while no landmark moves by more than the limit.

        Helpers may come to the end of their own ranges, so the way is found in a few rounds.
        """
        way = room
        for _ in range(4):
            moved = self.linear_px(self.compensate(leader, way))
            if moved <= limit_px:
                break
            way *= limit_px / moved
        return self.within(self.compensate(leader, way), limit_px)

    def within(self, move: Tensor, limit_px: float) -> Tensor:
        """The same direction, shortened until no landmark moves by more than the limit."""
        for _ in range(8):
            moved = self.px(move)
            if moved <= limit_px:
                break
            move = move * (0.999 * limit_px / moved)
        return move

    def trimmed(self, move: Tensor, limit_px: float) -> Tensor:
        """Without sliders that hardly take part."""
        kept = move.abs() >= SMALL * move.abs().max()
        return self.within(torch.where(kept, move, 0), limit_px)

    def vertex_mm(self, move: Tensor) -> float:
        """How far the vertex that moves most moves."""
        taken = move.nonzero().squeeze(-1)
        steps = (move * self.span)[taken].to(self.columns.vertices)
        shift = torch.einsum("k,kvc->vc", steps, self.columns.vertices[taken])
        return 1000 * float(shift.norm(dim=-1).max())

    def recipe(self, move: Tensor) -> Recipe:
        by_size = move.abs().argsort(descending=True).tolist()
        changes = {self.columns.names[k]: float(move[k] * self.span[k]) for k in by_size if move[k] != 0}
        return Recipe(
            changes=changes,
            landmark_px=self.px(move),
            vertex_mm=self.vertex_mm(move),
            singular_value=float((self.whitened @ move).norm() / move.norm()),
        )


def weak_directions(
    sliders: Sliders, leaders: list[int], count: int, limit_px: float = VISIBLE_PX
) -> list[Tensor]:
    """The `count` moves that change the mesh most while no landmark moves by more than the limit.

    No two are alike or led by the same slider; fewer if there are no more.

    Args:
        leaders: places in the columns of the controls that may go first.
    """
    moves = []
    for leader in leaders:
        for room in (float(sliders.low[leader]), float(sliders.high[leader])):
            if abs(room) > LITTLE:
                move = sliders.trimmed(sliders.hide(leader, room, limit_px), limit_px)
                moves.append((sliders.vertex_mm(move), move))
    kept: list[Tensor] = []
    for _, move in sorted(moves, key=lambda one: -one[0]):
        if len(kept) < count and all(_differ(move, other) for other in kept):
            kept.append(move)
    return kept


def _differ(one: Tensor, other: Tensor) -> bool:
    return _cosine(one, other) < ALIKE and int(one.abs().argmax()) != int(other.abs().argmax())


def _cosine(one: Tensor, other: Tensor) -> float:
    return abs(float(one @ other / (one.norm() * other.norm())))

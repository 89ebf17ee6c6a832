"""Normal equations of one thing seen many times: a shared part (a person's identity) and one part of each
photo's own (expression, pose). Unknowns are [shared | own_1 | … | own_n], and the matrix is an arrow:

    ⎡ A    C_1  C_2 … ⎤ ⎡s  ⎤   ⎡a  ⎤
    ⎢ C_1ᵀ B_1        ⎥ ⎢o_1⎥ = ⎢b_1⎥
    ⎢ C_2ᵀ      B_2   ⎥ ⎢o_2⎥   ⎢b_2⎥
    ⎣ …             … ⎦ ⎣…  ⎦   ⎣…  ⎦

Two photos meet only in what they share. So every own part is eliminated by itself,

    (A − Σ C_i B_i⁻¹ C_iᵀ) s = a − Σ C_i B_i⁻¹ b_i,     o_i = B_i⁻¹ (b_i − C_iᵀ s),

and the work grows with n, not with n³: the Schur complement of bundle adjustment (Triggs, McLauchlan, Hartley
and Fitzgibbon, "Bundle adjustment: a modern synthesis", 2000, section 6.1).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.solve.box_qp import pivot


@dataclass(frozen=True)
class BlockArrow:
    """A symmetric arrow matrix of S shared and n · O own unknowns; vectors are `(*B, S + n · O)`.

    Attributes:
        shared: A `(*B, S, S)`.
        cross: C `(*B, n, S, O)`.
        own: B `(*B, n, O, O)`.
    """

    shared: Tensor
    cross: Tensor
    own: Tensor

    @classmethod
    def of_jacobians(cls, jacobian: Tensor, shared: Tensor, curvature: Tensor | None = None) -> "BlockArrow":
        """Σ JᵀJ of n photos, and the priors' curvature.

        Args:
            jacobian: `(*B, n, M, K)` of each photo's residuals; weights are in them as square roots.
            shared: `(K,)` bool, which of a photo's K controls are shared.
            curvature: `(S + n · O, S + n · O)` of the priors, none of which knows of two photos' own parts.
        """
        ours, theirs = jacobian[..., shared], jacobian[..., ~shared]
        arrow = cls((ours.mT @ ours).sum(-3), ours.mT @ theirs, theirs.mT @ theirs)
        if curvature is None:
            return arrow
        size, count = ours.shape[-1], theirs.shape[-3]
        cross = curvature[:size, size:].unflatten(-1, (count, -1)).movedim(-2, 0)
        own = curvature[size:, size:].unflatten(0, (count, -1)).unflatten(-1, (count, -1))  # (n, O, n, O)
        own = own.diagonal(dim1=0, dim2=2).movedim(-1, 0)
        return cls(arrow.shared + curvature[:size, :size], arrow.cross + cross, arrow.own + own)

    def split(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """`(*B, S + n · O)` → `(*B, S)`, `(*B, n, O)`."""
        size, (count, own) = self.shared.shape[-1], self.own.shape[-3:-1]
        return flat[..., :size], flat[..., size:].unflatten(-1, (count, own))

    def diagonal(self) -> Tensor:
        return joined(self.shared.diagonal(dim1=-2, dim2=-1), self.own.diagonal(dim1=-2, dim2=-1))

    def product(self, d: Tensor) -> Tensor:
        """The matrix times d."""
        s, o = self.split(d)
        of_shared = apply(self.shared, s) + apply(self.cross, o).sum(-2)
        return joined(of_shared, apply(self.cross.mT, s[..., None, :]) + apply(self.own, o))

    def scaled(self, scale: Tensor) -> "BlockArrow":
        """Rows and columns times `scale`."""
        s, o = self.split(scale)
        return BlockArrow(
            s[..., :, None] * self.shared * s[..., None, :],
            s[..., None, :, None] * self.cross * o[..., None, :],
            o[..., :, None] * self.own * o[..., None, :],
        )

    def among(self, free: Tensor) -> "BlockArrow":
        """With rows and columns of the identity for all unknowns that are not `free` (bool)."""
        kept = self.scaled(free.to(self.shared))
        s, o = self.split((~free).to(self.shared))
        return BlockArrow(kept.shared + s.diag_embed(), kept.cross, kept.own + o.diag_embed())

    def solve(self, right: Tensor) -> Tensor:
        """By the dense Schur complement; the matrix must be positive definite.

        Raises:
            torch.linalg.LinAlgError: it is not.
        """
        a, b = self.split(right)
        factor = torch.linalg.cholesky(self.own)
        inner = torch.cholesky_solve(torch.cat([self.cross.mT, b[..., None]], -1), factor)  # B⁻¹ [Cᵀ b]
        eliminated, given = inner[..., :-1], inner[..., -1]
        schur = self.shared - (self.cross @ eliminated).sum(-3)
        rest = a - apply(self.cross, given).sum(-2)
        s = torch.cholesky_solve(rest[..., None], torch.linalg.cholesky(schur)).squeeze(-1)
        return joined(s, given - apply(eliminated, s[..., None, :]))

    def dense(self) -> Tensor:
        """`(*B, K', K')` with all its zeros."""
        size = self.shared.shape[-1] + self.own.shape[-3] * self.own.shape[-1]
        unit = torch.eye(size, dtype=self.shared.dtype, device=self.shared.device)
        one_more = BlockArrow(*(block.unsqueeze(0) for block in (self.shared, self.cross, self.own)))
        return one_more.product(unit.reshape(size, *[1] * (self.shared.dim() - 2), size)).movedim(0, -1)


def solve_box_arrow(
    arrow: BlockArrow, gradient: Tensor, low: Tensor, high: Tensor, damping: float = 0.0
) -> Tensor:
    """The minimiser of ½ dᵀ(H + λ diag H)d + gᵀd over low ≤ d ≤ high: `solve_box_qp` for an arrow H.

    Args:
        gradient, low, high: `(*B, S + n · O)`.
        damping: λ.
    """
    diagonal = arrow.diagonal()
    s, o = arrow.split(damping * diagonal)
    damped = BlockArrow(arrow.shared + s.diag_embed(), arrow.cross, arrow.own + o.diag_embed())
    scale = damped.diagonal().rsqrt()
    unit = damped.scaled(scale)

    def solve_free(free: Tensor, right: Tensor) -> Tensor:
        return scale * unit.among(free).solve(torch.where(free, scale * right, 0))

    return pivot(solve_free, damped.product, scale, gradient, low, high)


def joined(shared: Tensor, own: Tensor) -> Tensor:
    """`(*B, S)`, `(*B, n, O)` → `(*B, S + n · O)`."""
    own = own.flatten(-2)
    batch = torch.broadcast_shapes(shared.shape[:-1], own.shape[:-1])
    return torch.cat([shared.expand(*batch, -1), own.expand(*batch, -1)], -1)


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None]).squeeze(-1)

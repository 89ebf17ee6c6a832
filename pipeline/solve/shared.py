"""One person in several photos: n problems that share some controls become one problem.

Unknowns are y = [shared | own_1 | … | own_n] as in `block_arrow.py`: what is shared (an identity) once, and
each photo's own controls (expression, pose). Residuals follow each other. To a solver it is a problem like
any other, and `shared_broyden.py` knows how it is built:

    together = Shared(objectives, is_identity)
    solution = SharedBroyden().minimize(together, together.prior(priors), together.joined(starts))
    x = together.apart(solution.x)  # (n, K)
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.block_arrow import joined
from pipeline.solve.priors import Prior
from pipeline.solve.problem import Vjp


class Shared:
    """The problem of n problems; it has those methods of `problem.py` that all of them have.

    Args:
        problems: each of K controls `(K,)`, in any number of residuals.
        shared: `(K,)` bool, which controls are the same in all.
    """

    def __init__(self, problems: Sequence[Any], shared: Tensor) -> None:
        self.problems, self.shared = problems, shared
        size, own = int(shared.sum()), int((~shared).sum())
        places = torch.empty(len(problems), len(shared), dtype=torch.int64)
        places[:, shared] = torch.arange(size)
        places[:, ~shared] = size + torch.arange(len(problems) * own).view(len(problems), own)
        self.places = places  # (n, K): where a photo's control stands in y

    def apart(self, y: Tensor) -> Tensor:
        """`(K',)` → each photo's controls `(n, K)`."""
        return y[self.places]

    def at(self, y: Tensor) -> list[tuple[Any, Tensor]]:
        """Each problem, and its controls `(K,)`."""
        return list(zip(self.problems, self.apart(y), strict=True))

    def gathered(self, pulled: Tensor) -> Tensor:
        """`(n, K)` derivatives by each photo's controls → `(K',)`: of what is shared, their sum."""
        flat = pulled.new_zeros(int(self.places.max()) + 1)
        return flat.index_add(0, self.places.flatten(), pulled.flatten())

    def joined(self, x: Tensor) -> Tensor:
        """`(n, K)` → `(K',)`; of what is shared, the mean, exactly what they are where all are the same."""
        first = x[0, self.shared]
        more = torch.where(x[:, self.shared] == first, 0, x[:, self.shared] - first).mean(0)
        return joined(first + more, x[:, ~self.shared])

    def prior(self, priors: Sequence[Prior]) -> Prior:
        """The photos' priors as one: what is shared counts once, in the mean of what they say of it."""

        def joined(name: str) -> Tensor:
            return self.joined(torch.stack([getattr(prior, name) for prior in priors]))

        apart = Prior(*map(joined, ("mean", "precision", "sparsity", "low", "high")))
        couplings = [prior.coupling for prior in priors if prior.coupling is not None]
        if not couplings:
            return apart
        assert len(couplings) == len(priors), "all photos couple their controls, or none does"
        return replace(apart, coupling=self._coupling(couplings, apart.mean))

    def _coupling(self, couplings: Sequence[Tensor], y: Tensor) -> Tensor:
        """The photos' couplings `(K, K)` each as one `(K', K')`, of what is shared in the mean, too."""
        found = y.new_zeros(len(y), len(y))
        for coupling, places in zip(couplings, self.places, strict=True):
            among_shared = self.shared[:, None] & self.shared
            found[places[:, None], places] += torch.where(among_shared, coupling / len(couplings), coupling)
        return found

    def residual(self, y: Tensor) -> Tensor:
        return torch.cat([one.residual(x) for one, x in self.at(y)])

    def residual_and_vjp(self, y: Tensor) -> tuple[Tensor, Vjp]:
        each = [one.residual_and_vjp(x) for one, x in self.at(y)]
        sizes = [len(residual) for residual, _ in each]

        def vjp(v: Tensor) -> Tensor:
            pulled = [pull(part) for (_, pull), part in zip(each, v.split(sizes), strict=True)]
            return self.gathered(torch.stack(pulled))

        return torch.cat([residual for residual, _ in each]), vjp

    def jacobian(self, y: Tensor) -> Tensor:
        """`(K',)` → `(n M, K')`, zero where a photo does not depend on another's own controls."""
        return self._spread([one.jacobian(x) for one, x in self.at(y)], y)

    def stand_in(self, y: Tensor) -> Tensor:
        return self._spread([one.stand_in(x) for one, x in self.at(y)], y)

    def _spread(self, jacobians: list[Tensor], y: Tensor) -> Tensor:
        rows = [
            jacobian.new_zeros(len(jacobian), len(y)).index_copy(1, places, jacobian)
            for jacobian, places in zip(jacobians, self.places, strict=True)
        ]
        return torch.cat(rows)

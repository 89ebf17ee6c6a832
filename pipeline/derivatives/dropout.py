"""How much can a derivative be trusted? Drop parts of what it is made of, and see how it scatters.

Dropout ignores each part of a computation with probability p and scales up the rest by 1/(1 − p). What it
gives is a right derivative of a perturbed function, or a perturbed derivative of the right one. Its mean over
many draws is (for landmarks exactly) the derivative; its spread says how many parts the derivative rests on.
At p = ½, a control that a single landmark asks for has a spread as large as its derivative.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.derivatives.jacobian import Jacobian
from pipeline.errors import ChainRigError
from pipeline.layer import Layer


@dataclass(frozen=True)
class GradientNoise:
    """A gradient under dropout.

    Attributes:
        labels: names of the K controls.
        mean: `(K,)` over the draws.
        spread: `(K,)` standard deviation over the draws.
        agreement: `(K,)` share of the draws in which the derivative has its mean's sign.
    """

    labels: tuple[str, ...]
    mean: Tensor
    spread: Tensor
    agreement: Tensor

    @classmethod
    def of(cls, samples: Tensor, labels: Sequence[str] = ()) -> "GradientNoise":
        """From gradients `(S, K)`, S ≥ 2."""
        if samples.ndim != 2 or len(samples) < 2:
            raise ChainRigError("The spread of a gradient needs at least two draws of it, as rows.")
        mean = samples.mean(0)
        agreement = (samples.sign() == mean.sign()).to(samples.dtype).mean(0)
        names = tuple(labels) or tuple(map(str, range(samples.shape[1])))
        return cls(names, mean, samples.std(0), agreement)

    @property
    def trust(self) -> Tensor:
        """`(K,)` |mean| / spread: above 2 or so the sign is sure; 0 where the derivative is zero."""
        return torch.where(self.mean == 0, torch.zeros_like(self.mean), self.mean.abs() / self.spread)

    def least_trusted(self, count: int = 5) -> list[tuple[str, float, float]]:
        """(name, mean, spread) of the controls with the least trusted derivatives, worst first."""
        order = [i for i in self.trust.argsort().tolist() if self.mean[i] != 0]
        return [(self.labels[i], float(self.mean[i]), float(self.spread[i])) for i in order[:count]]


def contributions(jacobian: Jacobian, residual: Tensor, axis: str = "landmark") -> Tensor:
    """Which landmark asks for which control: the terms of Jᵀr, `(L, K)`; their sum over L is the gradient.

    Args:
        jacobian: without a batch, its rows (…, axis, …).
        residual: of the shape of the rows.
        axis: the row axis whose coordinates are told apart.

    Raises:
        ChainRigError: the Jacobian's rows have no such axis.
    """
    names = [row.name for row in jacobian.rows]
    if axis not in names:
        raise ChainRigError(f"The rows have no axis {axis}: there are {', '.join(names)}.")
    at = names.index(axis)
    weighted = jacobian.values * residual.reshape(*residual.shape, *(1 for _ in jacobian.columns))
    weighted = weighted.movedim(at, 0)
    inner = weighted.ndim - len(jacobian.columns)
    return weighted.flatten(inner).sum(tuple(range(1, inner)))


def landmark_dropout(
    jacobian: Jacobian,
    residual: Tensor,
    rate: float = 0.5,
    samples: int = 256,
    axis: str = "landmark",
    seed: int = 0,
) -> GradientNoise:
    """The gradient Jᵀr with landmarks left out at random.

    Args:
        jacobian, residual, axis: as for `contributions`.
        rate: probability p that a landmark is left out.
    """
    _check_rate(rate)
    terms = contributions(jacobian, residual, axis)  # [L, K]
    draws = torch.rand(samples, len(terms), generator=torch.Generator().manual_seed(seed), dtype=terms.dtype)
    kept = (draws >= rate).to(terms) / (1 - rate)
    return GradientNoise.of(kept @ terms, [label for label in _column_labels(jacobian)])


def landmark_spread(
    jacobian: Jacobian, residual: Tensor, rate: float = 0.5, axis: str = "landmark"
) -> Tensor:
    """`(K,)` the spread that `landmark_dropout` tends to: √(p/(1 − p) Σ_l terms²), without any draws."""
    _check_rate(rate)
    return (rate / (1 - rate) * contributions(jacobian, residual, axis).square().sum(0)).sqrt()


def unit_dropout(
    layer: Layer,
    objective: Callable[[Tensor], Tensor],
    x: Tensor,
    kinds: tuple[type[nn.Module], ...],
    rate: float = 0.05,
    samples: int = 16,
    seed: int = 0,
) -> Tensor:
    """Gradients `(S, *input)` of objective(layer(x)) with units of the layer's network left out at random.

    Args:
        objective: `(*output)` → a number.
        x: `(*input)`.
        kinds: outputs of modules of these classes are units, e.g. `(Rectifier,)` or `(nn.ReLU, nn.PReLU)`.
        rate: probability that a unit is left out. A deep network is perturbed at every layer: keep it small.

    Raises:
        ChainRigError: the layer has no such module.
    """
    with dropped_units(layer, kinds, rate, seed):
        gradient = torch.func.grad(lambda x: objective(layer(x)))
        return torch.stack([gradient(x) for _ in range(samples)])


@contextmanager
def dropped_units(
    layer: nn.Module, kinds: tuple[type[nn.Module], ...], rate: float, seed: int = 0
) -> Iterator[None]:
    """While it lasts, every pass of `layer` leaves out other units."""
    _check_rate(rate)
    chosen = [module for module in layer.modules() if isinstance(module, kinds)]
    if not chosen:
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ChainRigError(f"The layer has no {names} whose units could be dropped: name other modules.")
    generator = torch.Generator().manual_seed(seed)

    def drop(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        draws = torch.rand(output.shape, generator=generator, dtype=torch.float32)
        return output * ((draws >= rate).to(output.device, output.dtype) / (1 - rate))

    hooks = [module.register_forward_hook(drop) for module in chosen]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_rate(rate: float) -> None:
    if not 0 <= rate < 1:
        raise ChainRigError(f"A dropout rate lies between 0 and 1, below 1: {rate} does not.")


def _column_labels(jacobian: Jacobian) -> tuple[str, ...]:
    return jacobian.columns[0].labels if len(jacobian.columns) == 1 else ()

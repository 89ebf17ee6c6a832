"""Linear shapes: rest + Σ_k x_k · delta_k."""

from torch import Tensor


def blend(weights: Tensor, basis: Tensor) -> Tensor:
    """The weighted sum of shape deltas.

    Args:
        weights: (*B, K) control values.
        basis: (K, 3P) deltas of P points, flattened and contiguous: one matrix product reads it once.

    Returns:
        (*B, P, 3).
    """
    return (weights @ basis).unflatten(-1, (-1, 3))

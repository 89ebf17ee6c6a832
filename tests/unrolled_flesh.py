"""The solver that should not be differentiated: Newton's iterations with a fixed matrix, unrolled."""

import torch
from torch import Tensor

from pipeline.deform.quasistatic.flesh import Drive, Flesh, imbalance


def unrolled(
    drive: Drive, flesh: Flesh, start: Tensor, matrix: Tensor, tolerance: float, most: int = 2000
) -> tuple[Tensor, int]:
    """x ← x − A⁻¹ g(x, θ) until |g| is `tolerance` of what it was at the undeformed start, in plain torch.

    Args:
        matrix: A (3 · free, 3 · free), constant.

    Returns:
        x (free, 3), whose derivative by the drive is that of the steps taken, and how many there were.
    """
    x, steps = start, 0
    scale = float(imbalance(drive.rest[: flesh.free], drive, flesh).detach().norm())
    inverse = torch.linalg.inv(matrix)
    while steps < most:
        g = imbalance(x, drive, flesh)
        size = float(g.detach().norm())
        if not tolerance * scale < size < 1e3 * scale:
            break
        x = x - (inverse @ g.flatten()).reshape(x.shape)
        steps += 1
    return x, steps

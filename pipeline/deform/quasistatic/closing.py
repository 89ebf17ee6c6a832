"""What muscles can do of what controls ask for: lips that meet are closed, however much more is asked.

ARKit's mouthClose lifts the lower lip over a jaw that is open, by as much as jawOpen lowers it. Of itself,
at jawOpen = 0, it would carry the lower lip through the upper one and on to the nose. So what mouthClose has
beyond jawOpen presses the lips together and does no more:

    mouthClose ← jawOpen + s tanh(e/s),  e = mouthClose − jawOpen > 0,  s = `PRESSED`.
"""

import torch
from torch import Tensor

from pipeline.controls import ControlSpace

PRESSED = 0.1  # of mouthClose beyond jawOpen, at most: lips pressed against each other


def with_closed_lips(x: Tensor, controls: ControlSpace) -> Tensor:
    """Controls (*B, K) with mouthClose as far as lips can follow; twice continuously differentiable in x.

    A rig without either control has nothing to close over: x as it is.
    """
    if not {"jawOpen", "mouthClose"} <= set(controls.names):
        return x
    jaw, close = (controls.index(name) for name in ("jawOpen", "mouthClose"))
    excess = (x[..., close] - x[..., jaw]).clamp(min=0)
    lost = excess - PRESSED * torch.tanh(excess / PRESSED)
    return x - lost[..., None] * torch.nn.functional.one_hot(torch.tensor(close), x.shape[-1]).to(x)

"""mouthClose beyond jawOpen: what lips cannot follow is not asked of them."""

import torch
from torch import Tensor
from torch.autograd import gradcheck

from pipeline.controls import ControlSpace
from pipeline.deform.quasistatic.closing import PRESSED, with_closed_lips

CONTROLS = ControlSpace.of_rig(["mouthClose", "jawOpen", "mouthSmileLeft"], [], [], [])


def asked(jaw: Tensor, close: Tensor) -> Tensor:
    """Controls (*B, K) with these values (*B), beside a smile."""
    smile, pose = torch.full_like(close, 0.3), torch.zeros(*close.shape, len(CONTROLS) - 3).to(close)
    return torch.cat([torch.stack([close, jaw, smile], -1), pose], -1)


def test_lips_close_over_an_open_jaw_and_press_a_little_further() -> None:
    jaw, close = torch.meshgrid(*[torch.linspace(0, 1, 21).double()] * 2, indexing="ij")
    before, at = asked(jaw, close), CONTROLS.index("mouthClose")
    after = with_closed_lips(before, CONTROLS)
    torch.testing.assert_close(after[..., at][close <= jaw], close[close <= jaw])
    assert (after[..., at] <= jaw + PRESSED + 1e-12)[close > jaw].all()
    assert (after[..., at].diff(dim=1) >= 0).all()  # more is never less
    after[..., at] = before[..., at]
    assert torch.equal(after, before)  # nothing else changes


def test_it_is_smooth_where_it_sets_in() -> None:
    jaw = torch.full((4,), 0.3).double()
    x = asked(jaw, torch.tensor([0.2, 0.3, 0.35, 0.9]).double()).requires_grad_()
    assert gradcheck(lambda x: with_closed_lips(x, CONTROLS), x, check_forward_ad=True)
    near = torch.linspace(0.3 - 1e-3, 0.3 + 1e-3, 101).double().requires_grad_()
    close = with_closed_lips(asked(jaw[:1].expand(101), near), CONTROLS)[:, CONTROLS.index("mouthClose")]
    slope = torch.autograd.grad(close.sum(), near)[0]
    assert (slope - 1).abs().max() < 1e-3


def test_a_rig_without_these_controls_is_left_alone() -> None:
    few = ControlSpace.of_rig(["jawOpen", "smile"], [], [], [])
    x = torch.tensor([0.1, 0.9, *[0.0] * (len(few) - 2)])
    assert with_closed_lips(x, few) is x

"""Wrong landmarks among the right ones: a robust loss keeps the controls, squares do not.

The figures, with the whole chain, are benchmarks/corrupted_landmarks.py's; here it is the warm start's.
"""

import sys
from pathlib import Path

import pytest
import torch

from pipeline.config import load_config
from pipeline.target.faces import find_faces

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from corrupted_landmarks import Misled, corrupted, read  # noqa: E402  # pyright: ignore[reportMissingImports]

RENDER = "0"


@pytest.fixture(scope="module")
def errors() -> dict[tuple[str, str], torch.Tensor]:
    """(loss, landmarks) → absolute errors of the expressions `(52,)`, those in use first."""
    photo, own, truth = read(RENDER)
    face = max(find_faces(photo.pixels), key=lambda face: face.area)
    assert truth is not None
    found = {}
    for loss in ("squares", "huber"):
        fitter = Misled(load_config(None, [*own, f"fit.loss={loss}"]))
        for landmarks, fitter.seed in (("clean", None), ("corrupted", 0)):
            target = fitter.target(photo, face)
            camera = fitter.camera(photo, target)
            x = fitter.warm_start(fitter.objective(target, camera), fitter.first_guess(target, camera))
            values = fitter.rig.controls.unpack(x)
            ordered = sorted(truth.expressions, key=lambda name: -truth.expressions[name])
            apart = [abs(values[name] - truth.expressions[name]) for name in ordered]
            found[loss, landmarks] = torch.tensor(apart)
    return found


def test_a_tenth_of_the_landmarks_is_moved_by_a_fifth_of_the_eyes_distance() -> None:
    photo, own, _ = read(RENDER)
    target = Misled(load_config(None, own)).target(photo, find_faces(photo.pixels)[0])
    wrong = corrupted(target, seed=1)
    moved = (wrong.landmarks - target.landmarks)[:, :2].norm(dim=-1)
    assert int((moved > 0).sum()) == 48
    torch.testing.assert_close(moved[moved > 0], torch.full((48,), 0.2 * target.iod), rtol=1e-3, atol=0)
    assert torch.equal(wrong.points, target.comparison.detected(wrong.landmarks.double()))
    assert torch.equal(wrong.mesh.landmarks, wrong.landmarks) and wrong.iod == target.iod


def test_a_robust_loss_keeps_the_controls(errors: dict[tuple[str, str], torch.Tensor]) -> None:
    assert errors["huber", "corrupted"].mean() < 1.2 * errors["huber", "clean"].mean()
    assert errors["huber", "clean"].mean() < 1.1 * errors["squares", "clean"].mean()


def test_wrong_landmarks_move_controls_further_under_squares(
    errors: dict[tuple[str, str], torch.Tensor],
) -> None:
    moved = {
        loss: (errors[loss, "corrupted"] - errors[loss, "clean"]).abs().mean()
        for loss in ("squares", "huber")
    }
    assert moved["squares"] > 3 * moved["huber"]

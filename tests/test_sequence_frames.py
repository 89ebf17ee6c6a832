"""Which frames a sequence has, and in which order; frames of a video; what is known of motion."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from sequence_of_tests import frames

from pipeline.controls import ControlSpace
from pipeline.errors import ChainRigError
from pipeline.sequence.frames import find_footage
from pipeline.sequence.joint import Found, smooth
from pipeline.sequence.motion import Motion, tied
from pipeline.sequence.video import VideoReader, count_frames
from pipeline.solve.box_qp import solve_box_qp
from pipeline.solve.priors import Prior


def names(source: Path) -> list[str]:
    return [frame.name for frame in find_footage(str(source)).frames]


def test_numbers_are_numbers_and_those_left_out_have_a_place(tmp_path: Path) -> None:
    source = frames(tmp_path / "shots", {9: "", 10: "", 12: "", 8: ""})
    footage = find_footage(str(source))
    assert [frame.name for frame in footage.frames] == [f"shot_{k}.png" for k in (8, 9, 10, 11, 12)]
    assert [frame.missing for frame in footage.frames] == [False, False, False, True, False]
    assert [frame.place for frame in footage.frames] == list(range(5)) and footage.fps == 30
    assert [frame.output for frame in footage.frames][3] == "shot_11"
    assert len(find_footage(str(source), limit=2).frames) == 2


def test_every_tenth_frame_of_a_recording_lacks_none(tmp_path: Path) -> None:
    assert len(names(frames(tmp_path / "tens", {0: "", 10: "", 20: "", 40: ""}))) == 5


def test_names_that_differ_in_more_than_a_number_have_no_gaps(tmp_path: Path) -> None:
    source = frames(tmp_path / "shots", {2: "", 30: ""})
    (source / "end.png").write_text("")
    assert names(source) == ["end.png", "shot_2.png", "shot_30.png"]


def test_two_sequences_in_one_folder_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ChainRigError, match="After shot_2.png, 7998 numbers are missing"):
        names(frames(tmp_path / "shots", {1: "", 2: "", 8001: ""}))


def test_a_list_keeps_its_order(tmp_path: Path) -> None:
    frames(tmp_path / "shots", {1: "", 2: "", 3: ""})
    (tmp_path / "list.txt").write_text("shots/shot_3.png\nshots/shot_1.png\nshots/shot_2.png\n")
    assert names(tmp_path / "list.txt") == [f"shots/shot_{k}.png" for k in (3, 1, 2)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven frames, each brighter than the one before."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    fourcc = cv2.VideoWriter_fourcc(*"MJPG")  # pyright: ignore[reportAttributeAccessIssue]
    writer = cv2.VideoWriter(str(path), fourcc, 25.0, (64, 48))
    for k in range(7):
        writer.write(np.full((48, 64, 3), (30 * k, 0, 0), np.uint8))  # blue
    writer.release()
    return path


def test_frames_of_a_video_are_read_by_number_in_any_order(video: Path) -> None:
    assert count_frames(video) == (7, 25.0)
    footage = find_footage(str(video))
    assert [frame.name for frame in footage.frames][:2] == ["clip.avi/000000", "clip.avi/000001"]
    assert footage.fps == 25 and footage.video == video and footage.frames[6].output == "clip.avi/000006"
    reader = VideoReader(video)
    for k in (0, 1, 4, 2, 6, 6):
        pixels, sha256 = reader.read(k)
        assert pixels.shape == (48, 64, 3) and len(sha256) == 64
        assert pixels.float().mean((0, 1)).tolist() == pytest.approx([0, 0, 30 * k], abs=8)
    with pytest.raises(ChainRigError, match="Frame 7 of"):
        reader.read(7)
    assert reader.read(3)[0][..., 2].float().mean() == pytest.approx(90, abs=8)


def test_what_is_no_video_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("no video")
    with pytest.raises(ChainRigError, match="cannot read the video"):
        find_footage(str(tmp_path / "clip.mp4"))


def test_motion_is_as_far_in_a_second_at_any_rate_and_identity_does_not_move() -> None:
    space = ControlSpace.of_rig(["jawOpen", "eyeBlinkLeft"], ["nose"], [-1], [1])
    slow, fast = (Motion().stiffness(space, fps) for fps in (30, 120))
    assert torch.equal(fast, 4 * slow) and slow[2] == 0
    assert slow[1] < slow[0]  # lids are faster
    torch.testing.assert_close(Motion(steadiness=3).stiffness(space, 30), 3 * slow)


def problem(places: list[int], size: int = 4) -> tuple[list[Found], Prior, torch.Tensor]:
    noise = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=noise, dtype=torch.float64)

    jacobians = [random(2, size - 1) for _ in places]  # not all is seen in every frame, and one is held
    found = [
        Found(p, random(size).abs() / 3, j.T @ j, random(size - 1))
        for p, j in zip(places, jacobians, strict=True)
    ]
    low, high = torch.zeros(size).double(), torch.ones(size).double()
    low[1] = high[1] = 0.3  # held
    for one in found:
        one.x[1] = 0.3
    pair = random(1, size)
    prior = Prior(random(size), random(size).abs(), random(size).abs(), low, high, pair.T @ pair)
    return found, prior, 5 * random(size).abs()


def test_all_frames_together_are_the_minimum_of_the_whole_problem() -> None:
    found, prior, stiffness = problem([0, 1, 2, 4, 5, 9])
    x = torch.stack([one.x for one in found])

    free = prior.low < prior.high

    def value(flat: torch.Tensor) -> torch.Tensor:
        rows, total = flat.view(x.shape), flat.new_zeros(())
        for row, one in zip(rows, found, strict=True):
            d = (row - one.x)[free]
            total = total + 0.5 * d @ one.hessian @ d + one.gradient @ d + prior.value(row)
        for a, b, one, other in zip(rows, rows[1:], found, found[1:], strict=False):
            total = total + 0.5 * (stiffness * (b - a).square()).sum() / (other.place - one.place)
        return total

    flat = x.flatten()
    hessian, gradient = torch.func.hessian(value)(flat), torch.func.grad(value)(flat)
    step = solve_box_qp(hessian, gradient, (prior.low - x).flatten(), (prior.high - x).flatten())
    smoothed = smooth(found, prior, stiffness)
    torch.testing.assert_close(smoothed, (flat + step).view(x.shape), rtol=0, atol=1e-10)
    assert bool((smoothed >= prior.low).all()) and bool((smoothed <= prior.high).all())
    assert bool((smoothed == prior.low).any()), "nothing is at its bound: the box is not tested"


def test_one_frame_alone_and_frames_that_do_not_know_of_each_other_are_single_fits() -> None:
    found, prior, stiffness = problem([0, 1, 2])
    apart = smooth(found, prior, torch.zeros_like(stiffness))
    for one, x in zip(found, apart, strict=True):
        torch.testing.assert_close(x, smooth([one], prior, stiffness)[0])


def test_a_tied_prior_adds_its_neighbours_pull() -> None:
    found, prior, stiffness = problem([0, 1])
    both = tied(prior, stiffness, [(1, found[0].x), (2, found[1].x)])
    x = torch.rand(4, dtype=torch.float64)
    pull = stiffness * (x - found[0].x) + stiffness / 2 * (x - found[1].x)
    torch.testing.assert_close(both.gradient(x), prior.gradient(x) + pull)
    torch.testing.assert_close(both.curvature(x), prior.curvature(x) + (1.5 * stiffness).diag())

"""Keys' seconds, in single precision, become the frames that they were taken from."""

import numpy as np
import pytest

from pipeline.outputs.usd.time_codes import time_codes


@pytest.mark.parametrize("rate", [15.0, 23.976, 24.0, 25.0, 30000 / 1001, 30.0, 59.94, 60.0, 120.0])
@pytest.mark.parametrize("frames", [2, 60, 30_000])
def test_keys_are_at_whole_frames_of_the_sequences_rate(rate: float, frames: int) -> None:
    seconds = (np.arange(frames) / rate).astype(np.float32).astype(float)
    found, codes = time_codes(seconds)
    assert found == pytest.approx(rate, rel=1e-6)
    assert codes.tolist() == list(range(frames))


def test_dropped_frames_and_a_late_start_stay_what_they_are() -> None:
    frames = np.array([5, 8, 9, 10, 11, 12, 20, 21, 22, 5000])
    rate, codes = time_codes((frames / 30.0).astype(np.float32).astype(float))
    assert rate == 30 and codes.tolist() == frames.tolist()


def test_poses_seconds_apart_are_played_at_a_rate_that_players_have() -> None:
    rate, codes = time_codes(np.arange(5) * 0.5)
    assert rate == 24 and codes.tolist() == [0, 12, 24, 36, 48]


def test_one_key_or_keys_on_no_grid_keep_their_seconds() -> None:
    assert time_codes(np.array([0.5])) == (24.0, np.array([12.0]))
    seconds = np.array([0.0, 0.031, 0.1, 0.1234, 0.2])
    rate, codes = time_codes(seconds)
    assert codes / rate == pytest.approx(seconds) and rate > 0


@pytest.mark.parametrize("rate", [24.0, 29.97])
def test_a_rate_is_told_without_the_noise_of_single_precision(rate: float) -> None:
    assert time_codes((np.arange(1000) / rate).astype(np.float32).astype(float))[0] == rate

"""From the seconds of an animation's keys to whole frames."""

import math

import numpy as np

PLAYED = 24.0  # frames a second, where the file has no rate of its own
SLOW = 5.0  # keys a second, below which they are no frames, but poses to go through
WHOLE = 0.01  # of a frame


def time_codes(seconds: np.ndarray) -> tuple[float, np.ndarray]:
    """Frames a second, and `(T,)` the frames of keys, which are whole if keys stand on a grid.

    Args:
        seconds: `(T,)` of the keys, rising, as single precision has rounded them; frames may be missing.
    """
    if len(seconds) < 2:
        return PLAYED, seconds * PLAYED
    rate, from_start = 1 / float(np.median(np.diff(seconds))), seconds - seconds[0]
    # Early differences of times are rough; late times count well once the frames between are known.
    for last in sorted({min(2**k, len(seconds) - 1) for k in range(64)}):
        rate = max(1, round(from_start[last] * rate)) / float(from_start[last])
    nearest = round(rate)
    if nearest and abs(rate / nearest - 1) < 1e-5:
        rate = float(nearest)
    rate = round(rate, 5)  # single precision knows no more
    if rate < SLOW:
        rate *= math.ceil(PLAYED / rate)
    codes = seconds * rate
    whole = np.round(codes)
    return rate, whole if np.abs(codes - whole).max() < WHOLE else codes

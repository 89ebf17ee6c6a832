"""Animations of weak directions: they go there and back, say how far, and stay small."""

from io import BytesIO

import numpy as np
import torch
from PIL import Image

from pipeline.inspection.animation import MOST_BYTES, WIDTH, animate
from pipeline.inspection.findings import Recipe

RECIPE = Recipe({"jawOpen": 0.5, "mouthClose": -0.2}, landmark_px=0.18, vertex_mm=2.0, singular_value=0.01)


def square(controls: dict[str, float]) -> torch.Tensor:
    """A bright square that jawOpen moves to the right, before a dark wall."""
    picture = torch.full((64, 64, 3), 20, dtype=torch.uint8)
    left = 4 + round(100 * controls["jawOpen"] - 20)
    picture[20:40, left : left + 8] = 240
    return picture


def frames(animation: bytes) -> list[np.ndarray]:
    gif = Image.open(BytesIO(animation))
    found = []
    for index in range(gif.n_frames):  # type: ignore[attr-defined]
        gif.seek(index)
        found.append(np.asarray(gif.convert("RGB")).astype(int))
    return found


def test_the_rig_goes_along_the_recipe_and_back_from_where_it_stands():
    seen: list[dict[str, float]] = []

    def draw(controls: dict[str, float]) -> torch.Tensor:
        seen.append(controls)
        return square(controls)

    shown = frames(animate(RECIPE, {"jawOpen": 0.2, "mouthClose": 0.2, "age": 0.7}, draw))
    assert seen[0] == {"jawOpen": 0.2, "mouthClose": 0.2, "age": 0.7}
    assert abs(seen[-1]["jawOpen"] - 0.7) < 1e-9 and abs(seen[-1]["mouthClose"]) < 1e-9
    assert all(controls["age"] == 0.7 for controls in seen)
    places = [float((frame[WIDTH // 2] > 150).any(-1).nonzero()[0].mean()) for frame in shown]
    turn = places.index(max(places))
    assert places[: turn + 1] == sorted(places[: turn + 1])
    assert places[turn:] == sorted(places[turn:], reverse=True) and len(places) == 2 * turn
    assert abs(places[0] - 8 * WIDTH / 64) < 3 and abs(max(places) - 58 * WIDTH / 64) < 3
    assert len({frame.shape for frame in shown}) == 1


def test_the_caption_is_written_below_the_picture_and_stands_still():
    shown = frames(animate(RECIPE, {"jawOpen": 0.2, "mouthClose": 0.2}, square))
    captions = [frame[WIDTH + 6 :] for frame in shown]
    assert (captions[0] > 120).mean() > 0.01
    assert all(np.array_equal(caption, captions[0]) for caption in captions)


def test_busy_pictures_are_made_smaller_until_the_file_is_small_enough():
    generator = torch.Generator().manual_seed(0)

    def noise(controls: dict[str, float]) -> torch.Tensor:
        return torch.randint(0, 256, (256, 256, 3), generator=generator, dtype=torch.uint8)

    assert len(animate(RECIPE, {}, noise)) <= MOST_BYTES

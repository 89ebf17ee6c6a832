"""What surrounds and covers faces, painted: backgrounds, hair, beards, clothes, glasses, shade.

Nothing here looks like a photograph, and none of it needs to: a network that has seen faces through enough
different clutter relies on their shapes. All functions draw on float32 sRGB pictures `(S, S, 3)` in [0, 1],
in place; landmarks `(478, 2)` are in pixels of the picture, counted from its corner.
"""

from functools import cache

import cv2
import numpy as np

from pipeline.detect.embedding import IBUG68

Array = np.ndarray
Rng = np.random.Generator

# The outline of the mesh's face, clockwise on the picture from the top of the forehead.
OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
HAIR_COLOURS = np.array(
    [(0.07, 0.06, 0.06), (0.2, 0.15, 0.12), (0.42, 0.29, 0.18), (0.75, 0.6, 0.4), (0.6, 0.6, 0.6)]
)
SHIFT = 4  # bits of a fraction of a pixel in what OpenCV draws


def colour(rng: Rng) -> Array:
    """Any colour, gray ones more often."""
    return np.clip(rng.random() + rng.normal(0, rng.choice([0.02, 0.1, 0.3]), 3), 0, 1).astype(np.float32)


def noise(rng: Rng, size: int, rows: int, columns: int, channels: int = 1) -> Array:
    """`(S, S[, C])`, smooth, about N(0, 1): a coarse grid of random numbers, enlarged."""
    grid = rng.standard_normal((rows, columns, channels), dtype=np.float32)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)


def background(rng: Rng, size: int) -> Array:
    """A wall, a gradient, clouds, or a clutter of shapes."""
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = colour(rng)
    kind = rng.random()
    if kind < 0.3:  # a studio
        picture += rng.uniform(0, 0.15) * noise(rng, size, 2, 2)[..., None]
    else:
        for cells in (2, 5, 16, 48):
            if rng.random() < 0.6:
                picture += rng.uniform(0, 0.3) * noise(
                    rng, size, cells, cells, 3 if rng.random() < 0.3 else 1
                ).reshape(size, size, -1)
    if kind > 0.6:
        for _ in range(rng.integers(1, 14)):
            shape(rng, picture, rng.uniform(-0.1, 1.1, 2) * size, size * rng.uniform(0.03, 0.5))
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 5))
    return np.clip(picture, 0, 1)


def shape(rng: Rng, picture: Array, at: Array, radius: float) -> None:
    """A polygon, an ellipse or a thick line of any colour."""
    tone = colour(rng).tolist()
    kind = rng.integers(3)
    if kind == 0:
        corners = at + radius * rng.uniform(-1, 1, (rng.integers(3, 7), 2))
        cv2.fillPoly(picture, [fixed(corners)], tone, cv2.LINE_AA, SHIFT)
    elif kind == 1:
        axes = fixed(radius * rng.uniform(0.3, 1, 2))
        cv2.ellipse(
            picture,
            fixed(at).tolist(),
            axes.tolist(),
            rng.uniform(0, 180),
            0,
            360,
            tone,
            -1,
            cv2.LINE_AA,
            SHIFT,
        )
    else:
        end = at + 2 * radius * rng.uniform(-1, 1, 2)
        width = int(rng.integers(1, max(2, int(radius / 3) + 2)))
        cv2.line(picture, fixed(at).tolist(), fixed(end).tolist(), tone, width, cv2.LINE_AA, SHIFT)


def hair(rng: Rng, picture: Array, points: Array) -> None:
    """Hair of any length around the face, over ears and as much of the forehead as it likes."""
    size, outline = len(picture), points[list(OUTLINE)]
    top, chin = points[10], points[152]
    down = chin - top
    centre, across = (top + chin) / 2, np.linalg.norm(points[454] - points[234])
    angle = np.linspace(0, 2 * np.pi, len(outline), endpoint=False)
    uneven = np.zeros_like(angle)
    for k in (1, 2, 3, 5):
        uneven += rng.normal(0, 0.05) * np.cos(k * angle + rng.uniform(0, 6.3))
    face = centre + (outline - centre) * (rng.uniform(0.9, 1.12) + uneven)[:, None]
    window = polygon(size, face)
    # The hairline: a ragged curve across the forehead.
    line, swing = rng.uniform(-0.12, 0.3), rng.normal(0, 0.1)
    height = (pixels(size) - top) @ (down / (down @ down))
    side = (
        (pixels(size) - top)
        @ np.array([down[1], -down[0]], np.float32)
        / max(across * np.linalg.norm(down), 1.0)
    )
    ragged = line + swing * side + rng.uniform(-0.6, 0.9) * side**2
    window *= np.clip((height - ragged - 0.03 * noise(rng, size, 24, 24)) * 40, 0, 1)

    wide, high = rng.uniform(0.52, 0.95), rng.uniform(0.1, 0.55)
    length = rng.choice([rng.uniform(0.1, 0.6), rng.uniform(0.6, 2.2)])
    inside = np.where(
        height < 0.35,
        (side / wide) ** 2 + ((height - 0.35) / (0.35 + high)) ** 2 < 1,
        (abs(side) < wide) & (height < length),
    )
    mask = inside * (1 - window)
    mask = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(0.5, 2.5)) * rng.uniform(0.85, 1)
    tone = np.clip(
        HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))] + rng.normal(0, 0.06) + rng.normal(0, 0.02, 3), 0, 1
    )
    strands = (
        1
        + rng.uniform(0.05, 0.4) * noise(rng, size, int(rng.integers(3, 16)), 64)
        + 0.2 * noise(rng, size, 5, 5)
    )
    lay(picture, mask, tone * strands[..., None])


def beard(rng: Rng, picture: Array, points: Array) -> None:
    """Darker cheeks, chin and upper lip, from stubble to a full beard, the lips left free."""
    size, face = len(picture), points[list(IBUG68)]
    first = int(rng.integers(2, 6))
    region = np.concatenate([face[first : 17 - first], face[[35, 33, 31]] + 0.15 * (face[51] - face[33])])
    mask = polygon(size, region) * (1 - polygon(size, face[48:60]) * (rng.random() < 0.9))
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.7, 3.0)) * rng.uniform(0.1, 0.95)
    patches = np.clip(
        1 + rng.uniform(0, 0.6) * noise(rng, size, 12, 12) + 0.4 * noise(rng, size, 64, 64), 0, 1
    )
    tone = HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))] * (1 + 0.25 * noise(rng, size, 32, 48))[..., None]
    lay(picture, mask * patches, tone)


def clothes(rng: Rng, picture: Array, points: Array) -> None:
    """Something of one colour or pattern below a collar, in place of the rig's bare bust."""
    size = len(picture)
    top, chin = points[10], points[152]
    down, across = chin - top, np.linalg.norm(points[454] - points[234])
    collar = chin + rng.uniform(0.08, 0.6) * down
    normal = np.array([down[1], -down[0]]) / np.linalg.norm(down) * across
    shoulder = rng.uniform(0.0, 0.5) * down
    corners = [
        collar - 3 * normal + shoulder,
        collar - 0.6 * normal,
        collar + rng.uniform(-0.1, 0.6) * down,
        collar + 0.6 * normal,
        collar + 3 * normal + shoulder,
        collar + 3 * normal + 4 * down,
        collar - 3 * normal + 4 * down,
    ]
    mask = cv2.GaussianBlur(polygon(size, np.array(corners)), (0, 0), rng.uniform(0.5, 1.5))
    cells = int(rng.integers(2, 40))
    lay(picture, mask, colour(rng) + rng.uniform(0, 0.2) * noise(rng, size, cells, cells, 3))


def glasses(rng: Rng, picture: Array, points: Array) -> None:
    """Two rims, a bridge and temples; now and then dark glass."""
    face = points[list(IBUG68)]
    right, left = face[36:42].mean(0), face[42:48].mean(0)
    across = left - right
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    reach = np.linalg.norm(across)
    axes = reach * np.array([rng.uniform(0.3, 0.46), rng.uniform(0.2, 0.4)])
    drop = rng.uniform(-0.02, 0.12) * np.array([-across[1], across[0]])
    tone, width = (colour(rng) * rng.uniform(0, 1)).tolist(), int(rng.integers(1, 4))
    for eye in (right + drop, left + drop):
        if rng.random() < 0.25:
            glass = polygon(len(picture), ellipse(eye, axes, angle)) * rng.uniform(0.1, 0.9)
            lay(picture, glass, colour(rng))
        cv2.polylines(
            picture,
            [fixed(ellipse(eye, axes, angle, rng.choice([2.0, 3.5])))],
            True,
            tone,
            width,
            cv2.LINE_AA,
            SHIFT,
        )
    unit = across / reach
    for start, end in (
        (right + drop + unit * axes[0], left + drop - unit * axes[0]),
        (right + drop - unit * axes[0], points[234]),
        (left + drop + unit * axes[0], points[454]),
    ):
        cv2.line(picture, fixed(start).tolist(), fixed(end).tolist(), tone, width, cv2.LINE_AA, SHIFT)


def shade(rng: Rng, picture: Array) -> None:
    """A soft-edged shadow, or a patch of light, of any direction."""
    size = len(picture)
    direction = rng.normal(0, 1, 2)
    distance = (pixels(size) / size - rng.uniform(0.2, 0.8, 2)) @ (direction / np.linalg.norm(direction))
    wavy = distance + rng.uniform(0, 0.08) * noise(rng, size, 4, 4)
    mask = 1 / (1 + np.exp(-wavy / rng.uniform(0.01, 0.3)))
    picture *= (1 - mask * rng.uniform(0.1, 0.65))[..., None].astype(np.float32)


def lay(picture: Array, mask: Array, tone: Array) -> None:
    """Over the picture, `(S, S)` opaque where the mask is 1."""
    picture += mask[..., None].astype(np.float32) * (np.clip(tone, 0, 1).astype(np.float32) - picture)


def polygon(size: int, corners: Array) -> Array:
    """`(S, S)` float32: 1 inside `(N, 2)` corners."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [fixed(corners)], 255, cv2.LINE_AA, SHIFT)
    return mask.astype(np.float32) / 255


def ellipse(centre: Array, axes: Array, degrees: float, power: float = 2.0) -> Array:
    """`(24, 2)` points of a superellipse: rounder than a rectangle where the power is low."""
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    cos, sin = np.cos(t), np.sin(t)
    flat = (
        np.stack([np.sign(cos) * abs(cos) ** (2 / power), np.sign(sin) * abs(sin) ** (2 / power)], -1) * axes
    )
    turn = np.radians(degrees)
    return centre + flat @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


@cache
def pixels(size: int) -> Array:
    """`(S, S, 2)` x, y of the pixels' centres; not to be written to."""
    line = np.arange(size, dtype=np.float32) + 0.5
    return np.stack(np.meshgrid(line, line), -1)


def fixed(points: Array) -> Array:
    """Coordinates from the corner as OpenCV draws them: from the first pixel's centre, fixed-point."""
    return np.round((np.asarray(points) - 0.5) * (1 << SHIFT)).astype(np.int32)

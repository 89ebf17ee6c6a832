"""One texture for a mesh whose parts have several, or none: a tile for each part."""

import numpy as np
from PIL import Image

SIDE = 512  # texels of a texture that is made here
MARGIN = 0.02  # of a tile, beside its chart
MOST = 2048  # texels of a picture that is kept


def tiled(
    uv: np.ndarray | None,
    uv_triangles: np.ndarray | None,
    triangles: np.ndarray,
    positions: np.ndarray,
    part: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, dict[int, tuple[float, float, float]]]:
    """Texture coordinates in which no two parts overlap.

    Args:
        uv, uv_triangles: (T, 2) and (F, 3), or None: then parts are unrolled around the vertical.
        triangles, positions: (F, 3) and (V, 3) in ChainRig's frame.
        part: (F,).

    Returns:
        uv (T', 2), uv_triangles (F, 3), and part → (left, bottom, side) of its tile.
    """
    if uv is None or uv_triangles is None:
        uv, uv_triangles = _unrolled(positions, triangles)
    corners = uv[uv_triangles]  # [F, 3, 2]
    corners = corners - np.floor(corners.mean(1) + 1e-9)[:, None]  # UDIM tiles and repeats lie on each other
    sides = (
        positions[triangles[:, 1]] - positions[triangles[:, 0]],
        positions[triangles[:, 2]] - positions[triangles[:, 0]],
    )
    area = np.linalg.norm(np.cross(*sides), axis=1)
    numbers = [int(number) for number in np.unique(part)]
    tiles = _packed({number: float(area[part == number].sum()) for number in numbers})
    placed = np.empty_like(corners)
    for number, (left, bottom, side) in tiles.items():
        own = corners[part == number]
        low, high = own.min((0, 1)), own.max((0, 1))
        inner = (own - low) / np.maximum(high - low, 1e-12)
        placed[part == number] = (MARGIN + (1 - 2 * MARGIN) * inner) * side + [left, bottom]
    keyed = np.concatenate([part.repeat(3)[:, None], np.round(placed.reshape(-1, 2), 9)], 1)
    _, first, inverse = np.unique(keyed, axis=0, return_index=True, return_inverse=True)
    return placed.reshape(-1, 2)[first], inverse.reshape(-1, 3), tiles


def _unrolled(positions: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Around the vertical axis, the face in the middle; triangles across the seam stay whole."""
    x, y, z = positions.T
    middle = z.min() + 0.3 * (z.max() - z.min())
    around = np.arctan2(x, z - middle) / (2 * np.pi)
    corners = around[triangles]  # [F, 3]
    corners = corners + (corners.max(1, keepdims=True) - corners > 0.5)
    uv = np.stack([corners, y[triangles]], -1)
    return uv.reshape(-1, 2), np.arange(3 * len(triangles)).reshape(-1, 3)


def _packed(areas: dict[int, float]) -> dict[int, tuple[float, float, float]]:
    """Squares of sides 1, ½, ¼ … in the unit square, larger areas in larger ones."""
    total = max(sum(areas.values()), 1e-30)
    shrink = 0.0
    while True:
        level = {
            number: int(np.clip(np.ceil(np.log(total / max(area, 1e-9 * total)) / np.log(4) + shrink), 0, 5))
            for number, area in areas.items()
        }
        if sum(4.0**-k for k in level.values()) <= 1 or shrink > 8:
            break
        shrink += 0.25
    free, tiles = [(0.0, 0.0, 0)], {}
    for number in sorted(level, key=lambda number: level[number]):
        at = max((k for k in range(len(free)) if free[k][2] <= level[number]), key=lambda k: free[k][2])
        left, bottom, size = free.pop(at)
        while size < level[number]:
            size += 1
            half = 0.5**size
            free += [
                (left + half, bottom, size),
                (left, bottom + half, size),
                (left + half, bottom + half, size),
            ]
        tiles[number] = (left, bottom, 0.5**size)
    return tiles


def composed(
    tiles: dict[int, tuple[float, float, float]],
    pictures: dict[int, np.ndarray],
    colours: dict[int, tuple[int, int, int]],
    windows: dict[int, tuple[float, float, float, float]],
    side: int,
) -> np.ndarray:
    """(side, side, 3) uint8: every part's picture, or its colour, in its tile.

    Args:
        windows: part → left, bottom, right, top of its chart in its own picture.
    """
    page = Image.new("RGB", (side, side))
    for number, (left, bottom, size) in tiles.items():
        pixels = max(1, round(size * side))
        corner = (round(left * side), round((1 - bottom - size) * side))
        picture = pictures.get(number)
        if picture is None:
            page.paste(colours[number], (*corner, corner[0] + pixels, corner[1] + pixels))
            continue
        u0, v0, u1, v1 = windows[number]
        pad = MARGIN / (1 - 2 * MARGIN)
        u0, u1, v0, v1 = (
            u0 - pad * (u1 - u0),
            u1 + pad * (u1 - u0),
            v0 - pad * (v1 - v0),
            v1 + pad * (v1 - v0),
        )
        height, width = picture.shape[:2]
        box = (u0 * width, (1 - v1) * height, u1 * width, (1 - v0) * height)
        shown = Image.fromarray(picture).transform(
            (pixels, pixels), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR
        )
        page.paste(shown, corner)
    return np.asarray(page)


def with_sides_of_two(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 resized so that its sides are powers of two, at most `MOST`."""
    height, width = (min(MOST, 1 << round(np.log2(max(side, 1)))) for side in picture.shape[:2])
    if (height, width) == picture.shape[:2]:
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))

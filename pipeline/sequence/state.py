"""What is known of a sequence that is being worked on, on disk: a kill costs the frame in hand.

    OUT/.chainrig/sequence/<digest>/subject.json      the person
                                    000012.npz        a frame by itself
                                    000012.dropped    why there is none
                                    path.npz          all of them together

The digest is of all that results depend on. With another one, everything starts anew.
"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.batch.disk import PRIVATE, CannotWrite
from pipeline.outputs.whole_file import whole_file
from pipeline.sequence.joint import Found
from pipeline.sequence.performer import Tracked

PATH = "path.npz"
PERSON = "subject.json"


@dataclass(frozen=True)
class State:
    """The folder of one digest.

    Attributes:
        run: the run's folder, for messages.
    """

    run: Path
    digest: str

    @property
    def folder(self) -> Path:
        return self.run / PRIVATE / "sequence" / self.digest[:16]

    def begin(self) -> None:
        """Makes the folder; those of other digests are removed. Raises CannotWrite."""
        with CannotWrite.told(self.run):
            self.folder.mkdir(parents=True, exist_ok=True)
            for other in self.folder.parent.iterdir():
                if other != self.folder:
                    shutil.rmtree(other)

    def put(self, tracked: Tracked) -> None:
        """Raises CannotWrite."""
        found = tracked.found
        self._save(
            f"{found.place:06d}.npz",
            x=found.x,
            hessian=found.hessian,
            gradient=found.gradient,
            index=torch.tensor(tracked.index),
            box=tracked.box,
        )

    def drop(self, place: int, why: str) -> None:
        """A frame that shows nothing. Raises CannotWrite."""
        self.write(f"{place:06d}.dropped", why.encode())

    def get(self, place: int) -> Tracked | None:
        """None where the frame was dropped, or is still to come."""
        with contextlib.suppress(FileNotFoundError):
            values = self._load(f"{place:06d}.npz")
            found = Found(place, values["x"], values["hessian"], values["gradient"])
            return Tracked(found, int(values["index"]), values["box"])
        return None

    def why(self, place: int) -> str | None:
        """Why a frame was dropped."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / f"{place:06d}.dropped").read_bytes().decode()
        return None

    def places(self) -> tuple[list[int], list[int]]:
        """Those that are tracked, and those that were dropped, in order."""
        names = [path.name for path in self.folder.iterdir()]
        tracked = sorted(int(name[:-4]) for name in names if name.endswith(".npz") and name != PATH)
        return tracked, sorted(int(name[:6]) for name in names if name.endswith(".dropped"))

    def frames(self) -> Iterator[Tracked]:
        """The tracked ones, in order."""
        return (found for place in self.places()[0] if (found := self.get(place)) is not None)

    def put_path(self, places: list[int], x: Tensor, indices: list[int]) -> None:
        """The controls `(T, K)` of all tracked frames together. Raises CannotWrite."""
        self._save(PATH, places=torch.tensor(places), x=x, indices=torch.tensor(indices))

    def path(self) -> "JointPath | None":
        with contextlib.suppress(FileNotFoundError):
            values = self._load(PATH)
            return JointPath(values["places"].tolist(), values["x"], values["indices"].tolist())
        return None

    def write(self, name: str, data: bytes) -> None:
        """Raises CannotWrite."""
        with CannotWrite.told(self.run), whole_file(self.folder / name) as draft:
            draft.write_bytes(data)

    def _save(self, name: str, **tensors: Tensor) -> None:
        with CannotWrite.told(self.run), whole_file(self.folder / name) as draft, draft.open("wb") as file:
            np.savez(file, **{key: value.numpy() for key, value in tensors.items()})  # type: ignore[arg-type]

    def _load(self, name: str) -> dict[str, Tensor]:
        with np.load(self.folder / name) as file:
            return {key: torch.from_numpy(file[key]) for key in file}


@dataclass(frozen=True)
class JointPath:
    """All tracked frames together: their places, controls `(T, K)`, and which face of each it is."""

    places: list[int]
    x: Tensor
    indices: list[int]

    def around(self, place: int) -> tuple[int, Tensor, list[tuple[int, Tensor]]]:
        """Which face a tracked frame shows, its controls, and its neighbours' with their distances."""
        row = self.places.index(place)
        beside = [k for k in (row - 1, row + 1) if 0 <= k < len(self.places)]
        return self.indices[row], self.x[row], [(abs(self.places[k] - place), self.x[k]) for k in beside]

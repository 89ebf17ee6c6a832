"""What the page asks for, answered: one method a question, all on one thread, one after the other."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pipeline.deform.rig import Rig
from pipeline.environment import use_machine
from pipeline.errors import ChainRigError
from pipeline.result import FitResult
from pipeline.target.labels.labels import Labels
from pipeline.target.schemes import IBUG68
from pipeline.view import hand_labels
from pipeline.view.fitted_face import FittedFace, Points
from pipeline.view.posed_rig import PosedRig
from pipeline.view.viewed import Item
from pipeline.view.wire import packed

KEPT = 2  # faces that stay open: each has a chain of its own
Told = dict[str, Any]


class Stopped(Exception):
    """The person does not want to wait for the end of a fit."""


@dataclass
class Job:
    """A fit that is running, or has run."""

    step: int = 0
    of: int = 0
    residual: float | None = None
    done: bool = False
    error: str | None = None
    told: Told | None = None


class Session:
    """The items of a viewer, those of them that are open, and the fit that is running.

    Args:
        config, overrides: as of `load_config`; of each fit its own `config.yaml` if omitted.
        threads: of torch.
    """

    def __init__(
        self,
        items: Sequence[Item],
        config: str | None = None,
        overrides: list[str] | None = None,
        threads: int = 1,
    ) -> None:
        self.items = list(items)
        self._settings = config, overrides
        self._open: OrderedDict[int, FittedFace | PosedRig] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, "chain", initializer=use_machine, initargs=(threads,))
        self._stop = threading.Event()
        self._job: Job | None = None

    def check(self) -> None:
        """Opens what is alone in the list: a file that is of no use is told before there is a page.

        Raises:
            ChainRigError: it is.
        """
        if len(self.items) == 1:
            self._worker.submit(self._opened, {"face": 0}).result()

    def answer(self, question: str, asked: Told) -> Told:
        """The answer to one of `QUESTIONS`.

        Raises:
            ChainRigError: it cannot be answered; the sentence is for the page.
        """
        if question == "progress":
            return self._progress()
        if question == "stop":
            self._stop.set()
            return {}
        if self._running:
            raise ChainRigError("A fit is running: wait for it, or stop it.")
        return self._worker.submit(getattr(self, QUESTIONS[question]), asked).result()

    def picture(self, index: int) -> bytes:
        """The photo of an item. Raises ChainRigError."""
        return self._worker.submit(lambda: self._face({"face": index}).picture()).result()

    def close(self) -> None:
        """Ends a running fit at its next step."""
        self._stop.set()
        self._worker.shutdown(cancel_futures=True)

    def list_items(self, asked: Told) -> Told:
        return {"items": [{"name": one.name, "residual": one.residual, "why": one.why} for one in self.items]}

    def open_item(self, asked: Told) -> Told:
        """All that the page needs to show an item."""
        opened = self._opened(asked)
        if isinstance(opened, PosedRig):
            return {"rig": opened.told(), "fit": None}
        document, points = opened.document, opened.compared(opened.scene.x, exact=True)
        return {
            "rig": opened.posed.told(),
            "fit": {
                "uncertainty": document.get("uncertainty", {}),
                "unobservable": document.get("unobservable", []),
                "status": document["status"],
                "target": opened.target().tolist(),
                "points": _points(points),
                "region": [*opened.region.centre.tolist(), float(opened.region.side)],
                "photo": opened.photo is not None,
                "without_photo": opened.without_photo,
                "labels": hand_labels.saved(opened.by_hand),
                "suggested": opened.suggested68().tolist(),
                "names": IBUG68.names,
            },
        }

    def pose(self, asked: Told) -> Told:
        """Vertices at the page's controls, and where the points are; `exact` through the whole chain."""
        opened = self._opened(asked)
        posed = opened if isinstance(opened, PosedRig) else opened.posed
        x = posed.require(asked.get("values", []))
        told: Told = {"vertices": packed(posed.vertices(x))}
        if isinstance(opened, FittedFace):
            told["points"] = _points(opened.compared(x, exact=bool(asked.get("exact"))))
        return told

    def column(self, asked: Told) -> Told:
        """|∂X2/∂control| in mm on every vertex."""
        opened = self._opened(asked)
        posed = opened if isinstance(opened, PosedRig) else opened.posed
        return {
            "mm": packed(posed.column_mm(posed.require(asked.get("values", [])), str(asked.get("control"))))
        }

    def solve(self, asked: Told) -> Told:
        """Begins a fit from the page's controls, to its labels if it sends some."""
        face = self._face(asked)
        x = face.posed.require(asked.get("values", []))
        labels = None
        if asked.get("labels") is not None:
            labels = hand_labels.of_page(asked["labels"], face._require_photo(), face.by_hand)
        self._job = job = Job(of=face.settings.fit.iterations)
        self._stop.clear()
        self._worker.submit(self._solve, job, face, x, labels)
        return {}

    def save(self, asked: Told) -> Told:
        """Writes the files of a fit for the page's controls."""
        face = self._face(asked)
        return _written(face.save(face.posed.require(asked.get("values", []))))

    def save_labels(self, asked: Told) -> Told:
        """Writes the page's points."""
        face = self._face(asked)
        labels = hand_labels.of_page(asked.get("labels"), face._require_photo(), face.by_hand)
        return _written(hand_labels.save(labels, face.by_hand))

    @property
    def _running(self) -> bool:
        return self._job is not None and not self._job.done

    def _progress(self) -> Told:
        job = self._job or Job(done=True)
        told = {
            "step": job.step,
            "of": job.of,
            "residual": job.residual,
            "done": job.done,
            "error": job.error,
        }
        return told | {"found": job.told if job.done else None}

    def _solve(self, job: Job, face: FittedFace, x: Tensor, labels: Labels | None) -> None:
        def on_progress(step: int, of: int, residual: float) -> None:
            job.step, job.of, job.residual = step, of, residual
            if self._stop.is_set():
                raise Stopped

        try:
            result = face.solve(x, labels, on_progress)
            job.told = _found(result, labels)
        except Stopped:
            job.error = "Stopped: nothing was changed."
        except ChainRigError as refused:
            job.error = str(refused)
        except Exception as mistake:  # the page tells, the viewer goes on
            job.error = f"The fit failed: {mistake!r}"
            raise
        finally:
            job.done = True

    def _face(self, asked: Told) -> FittedFace:
        opened = self._opened(asked)
        if isinstance(opened, PosedRig):
            raise ChainRigError("A rig has no photo: open a fit to solve, to save and to label.")
        return opened

    def _opened(self, asked: Told) -> FittedFace | PosedRig:
        index = asked.get("face")
        if not isinstance(index, int) or not 0 <= index < len(self.items):
            raise ChainRigError(f"There is no item {index!r} in the list.")
        if index not in self._open:
            item = self.items[index]
            if item.why:
                raise ChainRigError(f"There is no fit of {item.name}: {item.why}")
            self._open[index] = (
                PosedRig.at_rest(Rig.load(item.file))
                if item.is_rig
                else FittedFace(item.file, *self._settings)
            )
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        self._open.move_to_end(index)
        return self._open[index]


QUESTIONS = {
    "list": "list_items",
    "open": "open_item",
    "pose": "pose",
    "column": "column",
    "solve": "solve",
    "progress": "progress",
    "stop": "stop",
    "save": "save",
    "save-labels": "save_labels",
}


def _points(points: Points) -> Told:
    return {"rig": points.rig.tolist(), "residual": points.residual_percent, "exact": points.exact}


def _found(result: FitResult, labels: Labels | None) -> Told:
    assert result.x is not None
    return {
        "values": result.x.tolist(),
        "uncertainty": result.uncertainty,
        "unobservable": list(result.unobservable),
        "status": result.status,
        "start": result.residual_start,
        "final": result.residual_final,
        "report": result.labels.report if result.labels is not None else None,
        "labelled": labels is not None,
    }


def _written(paths: Sequence[Any]) -> Told:
    return {"files": [path.name for path in paths], "folder": str(paths[0].parent)}

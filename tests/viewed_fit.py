"""A fit of the example photo for tests of the viewer: no step is taken from controls near the face's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pipeline import assets
from pipeline.config import load_config
from pipeline.fit import FaceFitter
from pipeline.outputs.folder import fit_files
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo
from pipeline.view.server import ViewServer
from pipeline.view.session import Session
from pipeline.view.viewed import Item

QUICK = ["fit.derivatives=embedding", "fit.iterations=2", "render.samples=1", "appearance.fit=false"]


NEAR = {
    **{"headRotationX": 0.31, "headRotationY": 0.01, "headRotationZ": -0.05},
    **{"headTranslationX": -0.0432, "headTranslationY": 0.2224, "headTranslationZ": -1.1119},
    **{"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "jawOpen": 0.25, "browDownRight": 0.2},
    **{"mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.55, "eyeBlinkLeft": 0.12, "eyeBlinkRight": 0.1},
}


def quick_fit(folder: Path) -> Path:
    """Writes the files of a fit, which is made once for all tests; gives fit.json."""
    for name, content in _files().items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder / "fit.json"


@cache
def _files() -> dict[str, bytes]:
    config = load_config(None, [*QUICK, "fit.iterations=0"])
    photo = read_photo(assets.path("example.png"))
    (face,) = find_faces(photo.pixels)
    fitter = FaceFitter(config)
    start = fitter.rig.controls.pack(NEAR, fitter.rig.controls.rest)
    return fit_files(fitter.fit(photo, face, start=start), 0, config)


@contextmanager
def served(items: list[Item]) -> Iterator[ViewServer]:
    """A viewer on a free port, until the block ends; its fits take two steps."""
    session = Session(items, None, QUICK)
    with ViewServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            session.close()

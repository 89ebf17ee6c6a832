"""A fit of the example photo for tests of the viewer: the landmarks' warm start alone, in seconds."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import assets
from pipeline.config import load_config
from pipeline.fit import FaceFitter
from pipeline.outputs.folder import write_fit
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo
from pipeline.view.server import ViewServer
from pipeline.view.session import Session
from pipeline.view.viewed import find_items

QUICK = ["fit.derivatives=embedding", "fit.iterations=2", "render.samples=1", "appearance.fit=false"]


def quick_fit(folder: Path) -> Path:
    """Writes the four files of a fit; gives fit.json."""
    config = load_config(None, [*QUICK, "fit.iterations=0"])
    photo = read_photo(assets.path("example.png"))
    (face,) = find_faces(photo.pixels)
    write_fit(FaceFitter(config).fit(photo, face), 0, config, folder)
    return folder / "fit.json"


@contextmanager
def served(path: Path) -> Iterator[ViewServer]:
    """A viewer of a path, on a free port, until the block ends; its fits take two steps."""
    session = Session(find_items(path), None, QUICK)
    with ViewServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            session.close()

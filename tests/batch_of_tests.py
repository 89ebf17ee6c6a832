"""What the tests of `chainrig batch` share: runs in real processes, with a stand-in for the fit.

An "image" is a text file whose words say what the fit does with it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.batch.discovery import find_images
from pipeline.batch.manifest import FittedFace
from pipeline.batch.recipe import Recipe
from pipeline.batch.run import Batch
from pipeline.errors import ChainRigError

RECIPE = Recipe("config", "weights", "versions")
TESTS = Path(__file__).parent
PATIENCE = 180  # seconds, on a machine that does much else


@dataclass(frozen=True)
class StandIn:
    """A face of which nothing is known but what its image says."""

    index: int
    text: str

    @property
    def told(self) -> FittedFace:
        if self.text == "unfit":
            return FittedFace(self.index, "failed", error="It is no face.")
        return FittedFace(self.index, "converged", 0.5)

    def files(self) -> dict[str, bytes]:
        """Raises the OSError that the image asks for: "write 28" is a full disk."""
        if self.text.startswith("write"):
            code = int(self.text.split()[1])
            raise OSError(code, os.strerror(code))
        names = ("fit.json", "overlay.png", "controls.csv", "config.yaml")
        return {name: f"{name} of {self.text}\n".encode() for name in names}


def load(calls: Path | None = None) -> Any:
    """The stand-in's fit; every image that it is given is a line of the file `calls`."""
    if calls is not None and (calls.parent / "refuse").exists():
        raise ChainRigError("There is no such detector.")
    return partial(fit, calls)


def fit(calls: Path | None, path: Path) -> Sequence[StandIn]:
    text = path.read_text()
    if calls is not None:
        with calls.open("a") as file:
            file.write(f"{path.name}\n")
    what, _, how = text.partition(" ")
    if what == "bad":
        raise ChainRigError(f"{path} is not an image.")
    if what == "crash":
        raise KeyError("a mistake of ours")
    if what == "die" or what == "die-once" and calls is not None and calls.read_text().count(path.name) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "wait":
        time.sleep(float(how))
    if what == "hold":
        wait_for((path.parent.parent / "go").exists, 10)
    faces = int(how) if what == "faces" else 1
    return [StandIn(index, text) for index in range(faces)]


def images(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def batch(source: Path, out: Path, **options: Any) -> Batch:
    found = find_images(str(source), besides=out)
    return Batch(images=found, folder=out, **({"recipe": RECIPE, "workers": 2} | options))


def started(source: Path, out: Path, file_bytes: int | None = None, **options: Any) -> subprocess.Popen[str]:
    """A run in a process of its own, with a file of calls beside its results.

    Args:
        file_bytes: no file grows beyond, as on a disk that is full.
    """
    file = out.with_name(f"{out.name}.py")
    file.write_text(
        f"""
if __name__ == "__main__":
    import resource
    import signal
    import sys
    from functools import partial
    from pathlib import Path, PosixPath

    from batch_of_tests import batch, load
    from pipeline.commands.batch import run_batch
    from pipeline.errors import ChainRigError

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    if {file_bytes}:
        resource.setrlimit(resource.RLIMIT_FSIZE, ({file_bytes}, {file_bytes}))
    try:
        run_batch(batch({source!r}, {out!r}, **{options!r}), partial(load, {calls_of(out)!r}), False, True)
    except ChainRigError as error:
        sys.exit(f"{{type(error).__name__}}: {{error}}")
    except KeyboardInterrupt:
        sys.exit(130)
"""
    )
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(file)], env=environment, stderr=subprocess.PIPE, text=True)


def finished(source: Path, out: Path, **options: Any) -> tuple[int, str]:
    """Exit code and stderr of such a run."""
    with started(source, out, **options) as process:
        try:
            told = process.communicate(timeout=PATIENCE)[1]
            return process.returncode, told
        finally:
            process.kill()


def calls_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.calls")


def calls(out: Path) -> list[str]:
    """Names of the images that were given to a fit, in order."""
    return calls_of(out).read_text().splitlines()


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def tree(out: Path) -> dict[str, str]:
    """The results: names and contents, but for what has times in it."""
    return {
        path.relative_to(out).as_posix(): path.read_text()
        for path in out.rglob("*")
        if path.is_file() and path.parent != out and ".chainrig" not in path.parts
    }


def wait_for(condition: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)

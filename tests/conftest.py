"""Tests run on one thread, so that their results do not depend on the machine's number of cores.

What needs a browser or a package that is not here is skipped with its reason; where CHAINRIG_CI is set, all
of that is installed, and a skip fails, but for what needs a GPU.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline import assets
from pipeline.cli import main
from pipeline.environment import use_machine

use_machine(1)
NOT_IN_CI = ("GPU", "CUDA", "Triton", "pytorch3d", "nvdiffrast", "is installed")
Run = Callable[..., tuple[int, str, str]]


class Fitted(NamedTuple):
    """A fit of the example photo from the command line."""

    folder: Path
    stdout: str
    document: dict[str, Any]


@pytest.fixture(scope="session")
def example_fit(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """The example photo, fitted once with the default settings, into a path with spaces."""
    folder = tmp_path_factory.mktemp("with spaces") / "my results"
    photo = assets.path("example.png")
    command = [sys.executable, "-m", "pipeline", "fit", str(photo), "--out", str(folder)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    assert done.returncode == 0, done.stderr
    return Fitted(folder, done.stdout, json.loads((folder / "fit.json").read_text()))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `chainrig ARGUMENTS` in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["chainrig", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        stdout, stderr = capfd.readouterr()
        return int(stopped.value.code or 0), stdout, stderr

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CHAINRIG_CI is set, nothing is skipped for want of something that can be installed."""
    report = yield
    if os.environ.get("CHAINRIG_CI") and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if not any(word in reason for word in NOT_IN_CI):
            report.outcome, report.longrepr = "failed", f"Skipped, but CI has what tests need: {reason}"
    return report

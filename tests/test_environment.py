"""What a machine lacks is one sentence that names the remedy."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numba
import numba.core.caching
import pytest

from pipeline.environment import lacking

ROOT = Path(__file__).parent.parent


def bootstrap(python: Path | str) -> str:
    """Runs the start of `make fit` with another Python; the sentence with which it stops."""
    done = subprocess.run(
        ["sh", "scripts/bootstrap.sh", "."],
        cwd=ROOT,
        env=os.environ | {"PYTHON": str(python)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    return done.stderr


def fake_python(folder: Path, fails_at: str) -> Path:
    file = folder / "fake python"
    file.write_text(f'#!/bin/sh\ncase "$2" in *{fails_at}*) exit 1 ;; esac\n')
    file.chmod(0o755)
    return file


def test_no_python() -> None:
    assert "python3-venv" in bootstrap("python-that-is-not-there")


def test_old_python(tmp_path: Path) -> None:
    assert "3.10" in bootstrap(fake_python(tmp_path, "version_info"))


def test_python_without_venv(tmp_path: Path) -> None:
    assert "apt install python3-venv" in bootstrap(fake_python(tmp_path, "ensurepip"))


@pytest.mark.parametrize(
    ("library", "package"), [("libGL.so.1", "libgl1"), ("libgthread-2.0.so.0", "libglib2.0-0")]
)
def test_missing_library_names_its_package(library: str, package: str) -> None:
    error = ImportError(f"{library}: cannot open shared object file: No such file or directory")
    assert f"apt install {package}" in (lacking(error) or "")


def test_numba_without_a_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError) as error:
        numba.njit(cache=True)(lambda x: x)
    assert "NUMBA_CACHE_DIR" in (lacking(error.value) or "")


def test_other_errors_are_nobody_elses_fault() -> None:
    assert lacking(RuntimeError("a bug")) is None
    assert lacking(ModuleNotFoundError("No module named 'pipeline.nothing'", name="pipeline.nothing")) is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_freed_memory_stays_with_the_process() -> None:
    """A tensor of 64 MB, made again and again, is not fetched from the system page by page each time."""
    code = """
from resource import RUSAGE_SELF, getrusage
import torch
from pipeline.environment import use_machine
use_machine(1)
for _ in range(30):  # the heap grows to its size first
    torch.ones(1 << 24)
before = getrusage(RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(1 << 24)
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # of 160,000

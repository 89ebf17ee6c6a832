"""The check of GPUs, where there is none: it says so, and its rehearsal runs through."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def gpu_check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "gpu_check.py"), *arguments]
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | hidden, cwd=ROOT)


def test_without_a_gpu_it_ends_with_one_sentence() -> None:
    done = gpu_check()
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "no CUDA GPU" in done.stderr
    assert done.stdout == ""


def test_a_rehearsal_passes_its_checks_and_writes_nothing() -> None:
    before = {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()}
    done = gpu_check("--device", "cpu")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    for word in ("parity", "forward against reverse mode", "ours, 2 × 2 samples", "batch 2", "rehearsal"):
        assert word in done.stdout
    assert {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()} == before

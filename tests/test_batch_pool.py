"""The pool that batch, evaluation and training share, with real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from batch_of_tests import TESTS, wait_for

from pipeline.batch.pool import Lost, Pool
from pipeline.errors import ChainRigError


def square(number: int) -> int:
    if number == 13:
        raise ZeroDivisionError("thirteen")
    if number == 17:
        raise ChainRigError("No seventeen.")
    if number == 19:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 23:
        time.sleep(60)
    return number * number


def squares() -> Callable[[int], int]:
    return square


def refusing(what: str) -> Callable[[int], int]:
    if what == "exit":
        os._exit(3)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "stumble":
        raise RuntimeError("the file\nis of no use")
    if what == "lack":
        import numpy.no_such_part  # noqa: F401  # pyright: ignore
    raise ChainRigError("Not today.")


def test_one_bad_task_costs_only_itself() -> None:
    found = dict(Pool(squares, 2, seconds=1.0).run([*range(12), 13, 19, 23]))
    assert {number: found[number] for number in range(12)} == {n: n * n for n in range(12)}
    lost = {number: result.why for number, result in found.items() if isinstance(result, Lost)}
    assert "ZeroDivisionError: thirteen (test_batch_pool.py, line" in lost[13]
    assert "signal 9" in lost[19] and "longer than the 1 s" in lost[23]
    assert set(lost) == {13, 19, 23}


def test_what_cannot_be_done_at_all_is_raised() -> None:
    with pytest.raises(ChainRigError, match="No seventeen"):
        list(Pool(squares, 1).run([1, 17, 2]))
    with pytest.raises(ChainRigError, match="Not today"):
        list(Pool(partial(refusing, "refuse"), 2).run([1, 2]))
    for what, why in (("stumble", "RuntimeError: the file is of no use"), ("lack", "no_such_part")):
        with pytest.raises(ChainRigError, match=f"^The workers cannot start: .*{why}") as told:
            list(Pool(partial(refusing, what), 2).run([1, 2]))
        assert "memory" not in str(told.value) and "\n" not in str(told.value)
    with pytest.raises(ChainRigError, match="were starting .exit code 3.: what they printed"):
        list(Pool(partial(refusing, "exit"), 1).run([1]))
    with pytest.raises(ChainRigError, match="were starting .signal 9.: if memory is short.*--workers"):
        list(Pool(partial(refusing, "kill"), 1).run([1]))
    assert list(Pool(squares, 4).run([])) == []


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    program = """
import multiprocessing, sys
from test_batch_pool import Pool, squares
if __name__ == "__main__":
    for task, result in Pool(squares, 2).run([1, 23, 23]):
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
"""
    (tmp_path / "parent.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        assert children and all(map(alive, children))
        parent.kill()
        wait_for(lambda: not any(map(alive, children)))

"""What the Jacobian of the whole chain costs, in plain evaluations of the chain and in memory.

    python benchmarks/chain_jacobian.py [--rounds N]    # prints the table of docs/performance.md
    python benchmarks/chain_jacobian.py --write         # and puts it there, and the figures into results/
    python benchmarks/chain_jacobian.py --json FILE     # the raw figures elsewhere

The chain is that of the example photo: the default rig, 2 × 2 samples a pixel, the detector's 256 × 256 view,
float32, one thread. All stations' columns are pushed forward (`pushed_columns`) by the controls of expression
and pose, 58, or by all. Plain evaluations, without gradients, are timed between the Jacobians; the ratio is
that of the medians. It is processor time, which other programs disturb least.

Each case runs in a process of its own. Its memory is the most that was resident while a Jacobian was made,
and how much of that was not resident before. Linux only.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from chain_gradient import HALFWAY, objective_for
from stations import write_between_markers
from torch import Tensor

from pipeline.controls import ControlSpace
from pipeline.deform.rig import Rig
from pipeline.derivatives import automatic
from pipeline.derivatives.axes import units
from pipeline.derivatives.pushed_columns import pushed_columns
from pipeline.detect.facemesh import FaceMesh
from pipeline.layer import Pipeline

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "chain_jacobian.json"
PAGE = ROOT / "docs" / "performance.md"
EVALUATIONS = 10  # before every Jacobian, and after


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        at: "halfway" through the fit of the example photo, or with the head "turned" and the mouth open.
        smoothing: of the detector's derivative; a fit takes 0.1.
        groups: of controls.
        by: "linear maps", or "JVPs" of every column, the reference.
    """

    at: str = "halfway"
    smoothing: float = 0.3
    groups: tuple[str, ...] = ("expression", "pose")
    by: str = "linear maps"


CASES = (
    Case(),
    Case(smoothing=0.0),
    Case(at="turned"),
    Case(at="turned", smoothing=0.0),
    Case(groups=("expression", "identity", "pose")),
    Case(by="JVPs"),
)


def measure(case: Case, rounds: int) -> dict[str, float | list[float]]:
    """Seconds of Jacobians and of evaluations, and megabytes, in this process."""
    torch.set_num_threads(1)
    space = Rig.load().controls
    chain = objective_for(samples=2).chain
    detector = list(chain)[-1]
    assert isinstance(detector, FaceMesh)
    detector.smoothing = case.smoothing
    x = controls(space, case.at)
    wanted = [name for group in case.groups for name in space.names[space.groups[group]]]

    def jacobian() -> None:
        if case.by == "JVPs":
            by_jvps(chain, x, space, wanted)
        else:
            pushed_columns(chain, x, {"control": wanted})

    evaluations, jacobians = [], []
    with torch.no_grad():
        for _ in range(3):
            chain(x)
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        jacobian()  # the first one may compile
        peak = resident("VmHWM")
        for _ in range(rounds):
            evaluations += [seconds(lambda: chain(x)) for _ in range(EVALUATIONS)]
            jacobians.append(seconds(jacobian))
            evaluations += [seconds(lambda: chain(x)) for _ in range(EVALUATIONS)]
    return {
        "columns": len(wanted),
        "evaluation_s": statistics.median(evaluations),
        "jacobian_s": statistics.median(jacobians),
        "evaluations": statistics.median(jacobians) / statistics.median(evaluations),
        "jacobians_s": jacobians,
        "memory_mb": peak - before,
        "peak_mb": peak,
    }


def controls(space: ControlSpace, at: str) -> Tensor:
    """`(K,)` float32."""
    values = json.loads(HALFWAY.read_text())
    if at == "turned":
        values |= {"headRotationY": values["headRotationY"] + 0.5, "jawOpen": 0.6, "mouthSmileLeft": 0.5}
    return space.pack(values, space.rest.clone()).float()


def by_jvps(chain: Pipeline, x: Tensor, space: ControlSpace, wanted: list[str]) -> None:
    """The same columns, by a JVP of each through every layer."""
    vectors = units(x, (), torch.tensor([space.index(name) for name in wanted]))
    for layer in chain:
        vectors = automatic.push(layer, x, vectors)
        x = layer(x)


def resident(kind: str) -> float:
    """Megabytes, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind + ":"))


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    began = time.process_time()
    work()
    return time.process_time() - began


def in_a_process_of_its_own(number: int, rounds: int) -> dict:
    command = [sys.executable, __file__, "--case", str(number), "--rounds", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return asdict(CASES[number]) | json.loads(done.stdout.splitlines()[-1])


def table(rows: list[dict]) -> str:
    lines = [
        "| columns | at | smoothing | by | evaluation, ms | Jacobian, s | evaluations | memory, MB "
        "| in all, MB |",
        "|--:|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['columns']} | {row['at']} | {row['smoothing']} | {row['by']} "
            f"| {1000 * row['evaluation_s']:.0f} | {row['jacobian_s']:.2f} | {row['evaluations']:.0f} "
            f"| {row['memory_mb']:.0f} | {row['peak_mb']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="Jacobians of each case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures there")
    parser.add_argument(
        "--write", action="store_true", help="put the table into the page, and the figures beside"
    )
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    choice = parser.parse_args()
    if choice.case is not None:
        print(json.dumps(measure(CASES[choice.case], choice.rounds)))
        return
    machine = (
        f"{time.strftime('%Y-%m-%d')}, one thread, {platform.system()} on {platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}."
    )
    rows = [
        in_a_process_of_its_own(number, choice.rounds if case.by != "JVPs" else 2)
        for number, case in enumerate(CASES)
    ]
    print(f"{machine}\n\n{table(rows)}")
    for file in filter(None, (choice.json, RESULTS if choice.write else None)):
        file.write_text(json.dumps({"machine": machine, "cases": rows}, indent=1) + "\n")
    if choice.write:
        write_between_markers(PAGE, "chain jacobian: machine", machine)
        write_between_markers(PAGE, "chain jacobian", table(rows))


if __name__ == "__main__":
    main()

"""The command line, one command a file in `commands/`: they parse, call and print.

What is slow to import is imported by a command when it runs, so that --help is not slow.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pipeline.commands.batch import batch
from pipeline.commands.calibrate import calibrate
from pipeline.commands.check_gradients import check_gradients
from pipeline.commands.detector import detector_app
from pipeline.commands.doctor import doctor
from pipeline.commands.evaluate import evaluate
from pipeline.commands.fit import fit
from pipeline.commands.jacobian import jacobian
from pipeline.commands.render import render
from pipeline.commands.retarget import retarget
from pipeline.commands.rig import rig_app
from pipeline.commands.train_detector import train_detector
from pipeline.commands.usd import usd
from pipeline.commands.view import view
from pipeline.environment import lacking
from pipeline.errors import ChainRigError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
for command in (
    fit,
    batch,
    calibrate,
    evaluate,
    retarget,
    usd,
    render,
    jacobian,
    view,
    check_gradients,
    train_detector,
    doctor,
):
    app.command()(command)
app.add_typer(detector_app, name="detector")
app.add_typer(rig_app, name="rig")


def main() -> None:
    """Runs the command line; whatever the user can settle is one sentence on stderr and exit code 2."""
    usage_error = typer.BadParameter.__base__ or Exception  # click's UsageError, which typer does not export
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        _stop("Interrupted.", code=130)
    except SystemExit as stopped:
        if stopped.code == 130:  # as typer ends a program that is interrupted
            _stop("Interrupted.", code=130)
        raise
    except ChainRigError as error:
        _stop(str(error))
    except Exception as error:
        sentence = error.format_message() if isinstance(error, usage_error) else lacking(error)  # type: ignore[attr-defined]
        if sentence is None:
            raise
        _stop(sentence)


def _stop(sentence: str, code: int = 2) -> None:
    print(f"chainrig: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"chainrig {version('chainrig')}")
        raise typer.Exit


@app.callback()
def chainrig(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """ChainRig: from a photograph to the animation controls of a face rig that makes the same face."""

"""What several commands take: options that are the same in all, choices, controls as `--set jawOpen=0.5`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ChainRigError

ConfigFile = Annotated[
    str | None,
    typer.Option("--config", help="A YAML file, or 'quality' or 'speed'.", show_default=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change one setting; repeatable.", show_default=False),
]
SubjectFile = Annotated[
    Path | None,
    typer.Option(
        "--subject", help="The person, from chainrig calibrate: expression only.", show_default=False
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes, each with its own fit.", show_default="one a core"),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]


def require_choice(option: str, choice: str, *choices: str) -> None:
    """Raises ChainRigError where `choice` is none of the choices of an option."""
    if choice not in choices:
        raise ChainRigError(f"{option} takes {', '.join(choices[:-1])} or {choices[-1]}, not '{choice}'.")


def named_number(text: str) -> tuple[str, float]:
    """The control's name and its value.

    Raises:
        ChainRigError: the text is not of that form.
    """
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise ChainRigError(f"--set takes NAME=VALUE, such as jawOpen=0.5, not '{text}'.") from None


def as_yaml(value: str | Path | float | bool) -> str:
    """An option's value as `--set` takes it: text in quotes, so that no path is taken for something else."""
    return json.dumps(str(value) if isinstance(value, Path) else value)

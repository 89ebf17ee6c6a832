"""What several commands take: choices, and controls as `--set jawOpen=0.5`."""

import json
from pathlib import Path

from pipeline.errors import ChainRigError


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

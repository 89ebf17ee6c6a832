"""Controls on the command line: `--set jawOpen=0.5`."""

from pipeline.errors import ChainRigError


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

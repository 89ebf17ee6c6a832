"""FAN's trained weights: where they lie, where they come from, and what is checked before they are used.

They are not part of this package: face-alignment's author publishes them (docs/fan.md has the licence), and
they are downloaded, as face-alignment does, when FAN is first asked for.
"""

import hashlib
import io
import pickle
import re
import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.errors import ChainRigError

Variant = Literal["2d", "3d"]

ADDRESS = "https://www.adrianbulat.com/downloads/python-fan/"
# Four stacks each; the name ends with the first digits of the file's sha256.
FILES: dict[Variant, str] = {"2d": "2DFAN4-11f355bf06.pth.tar", "3d": "3DFAN4-7835d9f11d.pth.tar"}


def place(variant: Variant) -> Path:
    """Where torch.hub keeps this file: `$TORCH_HOME/hub/checkpoints`, by default under `~/.cache/torch`.

    Raises:
        ChainRigError: there is no such variant.
    """
    if variant not in FILES:
        raise ChainRigError(f"FAN has no variant {variant}: choose one of {', '.join(FILES)}.")
    return Path(torch.hub.get_dir()) / "checkpoints" / FILES[variant]


def fetch(variant: Variant) -> Path:
    """The file at its place; downloaded (about 100 MB, progress on stderr) if it is not there.

    Raises:
        ChainRigError: it cannot be downloaded, or something else arrives.
    """
    path = place(variant)
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(ADDRESS + path.name, str(path), hash_prefix=_promised(path))
    except (OSError, RuntimeError) as error:  # RuntimeError: another hash
        raise ChainRigError(
            f"FAN's weights are not in {path.parent} and could not be downloaded ({_brief(error)}): on a "
            f"machine with internet get {ADDRESS}{path.name}, and put it there under this name."
        ) from error
    return path


def read(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file, on the CPU. Nothing in the file is ever executed.

    If the file's name ends with digits of its sha256, they are compared before anything is read.

    Raises:
        ChainRigError: the file is missing or damaged, has another hash, or holds anything but tensors.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ChainRigError(f"The weights {path} cannot be read ({_brief(error)}).") from error
    found, promised = hashlib.sha256(data).hexdigest(), _promised(path)
    if not found.startswith(promised):
        raise ChainRigError(
            f"The weights {path} are damaged or not what their name says (their sha256 begins with "
            f"{found[: len(promised)]}): delete the file, and it is downloaded again."
        )
    again = "get the weights again from somebody you trust"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of a later protocol: most of them are refused
            weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL:? (?:GLOBAL )?([\w.]+)", str(error))
        what = f"names code ({named.group(1)})" if named else "is damaged or no list of tensors"
        raise ChainRigError(f"The file {path} {what}, and nothing in it was executed: {again}.") from error
    except Exception as error:  # torch raises nearly anything for bytes that are no file of its own
        raise ChainRigError(f"The file {path} is damaged or holds no weights of torch: {again}.") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ChainRigError(
            f"The file {path} holds no list of named tensors: save them as a plain state_dict."
        )
    return weights


def install(weights: dict[str, Tensor], network: nn.Module, path: Path) -> None:
    """Put weights into the network that they belong to; `path` is for the message.

    Raises:
        ChainRigError: they belong to another architecture.
    """
    expected = network.state_dict()
    misfit = next(
        (
            f"its {name} is {_shape(weights[name])}, not {_shape(tensor)}"
            if name in weights
            else f"it has no {name}"
            for name, tensor in expected.items()
            if not name.endswith(
                "num_batches_tracked"
            )  # old files lack these counters, evaluation needs none
            and (name not in weights or weights[name].shape != tensor.shape)
        ),
        None,
    ) or next(
        (f"it has {name}, for which there is no place" for name in weights if name not in expected), None
    )
    if misfit:
        raise ChainRigError(
            f"The file {path} holds the weights of another architecture ({misfit}): "
            f"take {' or '.join(FILES.values())}."
        )
    network.load_state_dict(weights, strict=False)


def _promised(path: Path) -> str:
    """The first digits of the sha256 that the name promises, as torch.hub writes them; empty if none."""
    match = re.search(r"-([0-9a-f]{8,64})\.", path.name)
    return match.group(1) if match else ""


def _brief(error: Exception) -> str:
    """The first line of a message, which may be long."""
    return (
        (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    )


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"

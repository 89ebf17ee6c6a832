"""Files of tensors with a few words about them: safetensors, never a pickle, whole or not there at all."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.errors import ChainRigError


def write(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Replaces the file in one step: whoever kills the program leaves the old file or the new one.

    Args:
        about: numbers, strings and lists, kept as JSON beside the tensors.

    Raises:
        ChainRigError: the place cannot be written to.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with draft.open("wb") as file:
            file.write(save(whole, {"about": json.dumps(about)}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as refused:
        raise ChainRigError(f"{path} cannot be written: {refused.strerror}.") from None


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` wrote.

    Raises:
        ChainRigError: there is no such file, or it is damaged, or it is no file of `write`'s. Pickles are
            among the latter; nothing of them is executed.
    """
    if not path.is_file():
        raise ChainRigError(f"There is no file of weights {path}: check the path.")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            if not isinstance(about, dict):
                raise ValueError("its description is no object")
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except KeyError:
        raise ChainRigError(
            f"{path} is damaged, or not written by chainrig train-detector (it has no description): "
            "train anew or copy it again."
        ) from None
    except (OSError, SafetensorError, ValueError) as error:
        raise ChainRigError(
            f"{path} is damaged, or not written by chainrig train-detector ({error}): "
            "train anew or copy it again."
        ) from None

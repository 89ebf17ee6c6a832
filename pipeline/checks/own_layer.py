"""A layer of the user's own, named on the command line as `module:name`, and where it is examined."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.checks.questions import in_float64
from pipeline.checks.scene import Scene
from pipeline.checks.subject import Subject, own_subject
from pipeline.derivatives.axes import check_output
from pipeline.errors import ChainRigError
from pipeline.layer import Layer


def read_own_layer(name: str) -> Layer:
    """The layer `module:name`, looked for in the current folder first.

    It is a Layer, or a class or function that makes one when it is called without arguments.

    Raises:
        ChainRigError: there is no such thing, it is no layer, or it cannot be made.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ChainRigError(f"A layer of your own is named as my_module:MyLayer, not '{name}'.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise ChainRigError(
                f"There is no Python module {module_name}: name it as you would import it from here."
            ) from None
        raise ChainRigError(f"The module {module_name} needs {error.name}, which is not there.") from None
    except Exception as error:
        raise ChainRigError(f"The module {module_name} cannot be imported: {_reason(error)}.") from error
    if not hasattr(module, attribute):
        raise ChainRigError(f"The module {module_name} has no {attribute}: check the name.")
    made: Any = getattr(module, attribute)
    if not isinstance(made, Layer) and callable(made):
        try:
            made = made()
        except Exception as error:
            raise ChainRigError(
                f"{name} cannot be made without arguments ({_reason(error)}): name a function of no "
                "arguments that makes it."
            ) from error
    if not isinstance(made, Layer):
        raise ChainRigError(f"{name} is no pipeline.layer.Layer, nor does it make one.")
    if made.name == Layer.name:
        made.name = attribute
    return made


def own_layer_subject(layer: Layer, scene: Callable[[], Scene]) -> Subject:
    """Where a layer is examined: at its `example_input()`, else at what flows in the default chain.

    Args:
        scene: makes the default chain, if it is needed.

    Raises:
        ChainRigError: neither will do, or the example does not fit the layer.
    """
    example = getattr(layer, "example_input", None)
    try:
        twin = in_float64(layer)
        x = None if example is None else example()
    except Exception as error:
        raise ChainRigError(
            f"The layer {layer.name} cannot be copied, or makes no example_input(): {_reason(error)}."
        ) from error
    if example is not None:
        if not isinstance(x, Tensor) or x.ndim != len(layer.input_axes):
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ChainRigError(
                f"The example_input() of {layer.name} is {shape}, which is not one input with the axes "
                f"{layer.input_axes}."
            )
        subject = own_subject(twin, x.detach().double())
    else:
        subject = scene().subject_like(twin)
    if subject is None:
        raise ChainRigError(
            f"The layer {layer.name} takes {layer.input_axes}, which is no station of the chain: give it a "
            "method example_input() that returns one input."
        )
    _require_values(subject)
    return subject


def _require_values(subject: Subject) -> None:
    layer, x = subject.layer, subject.x
    try:
        with torch.no_grad():
            y = layer(x)
    except ChainRigError:
        raise
    except Exception as error:
        raise ChainRigError(
            f"The layer {layer.name} cannot be evaluated in float64 at an input {tuple(x.shape)}: "
            f"{_reason(error)} (are its constants in buffers?)."
        ) from error
    if not isinstance(y, Tensor):
        raise ChainRigError(
            f"The layer {layer.name} gives {type(y).__name__}, not a tensor: correct its forward."
        )
    check_output(layer, x, y)
    if not bool(y.isfinite().all()):
        raise ChainRigError(f"The layer {layer.name} gives numbers that are not finite at its input.")


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")

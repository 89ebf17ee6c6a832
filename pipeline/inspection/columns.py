"""∂X2/∂X1, ∂X3/∂X1 and ∂X4/∂X1: the controls' columns at every station, after one push through the chain."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from pipeline.derivatives.axes import Axis
from pipeline.derivatives.jacobian import Jacobian
from pipeline.derivatives.pushed_columns import pushed_columns
from pipeline.inspection.findings import Columns
from pipeline.inspection.scene import Scene

BLOCKS = 16  # on a side of the picture; their mean colours are the pixel statistics


def push_columns(
    scene: Scene, names: Sequence[str], on_progress: Callable[[int, int], None] | None = None
) -> Columns:
    """The columns of the named controls at every station.

    Args:
        names: of controls, or patterns such as "mouth*".
        on_progress: called with (steps done, steps in all).

    Raises:
        ChainRigError: there is no such control.
    """
    space = scene.rig.controls
    made = pushed_columns(scene.chain, scene.x.float(), {"control": list(names)}, on_progress=on_progress)
    vertices, pixels, landmarks = (jacobian.values.movedim(-1, 0) for jacobian in made)
    at = [space.index(name) for name in made[0].columns[0].labels]
    return Columns(tuple(space.controls[i] for i in at), scene.x[at], vertices, pixels, landmarks)


def stations(columns: Columns) -> dict[str, Jacobian]:
    """The three Jacobians by station: "vertices", "pixels" and "landmarks".

    Of the pixels, the mean colours of 16 × 16 blocks: every pixel's own would take 0.8 MB a control.
    """
    height, width = columns.pixels.shape[1:3]
    blocks = columns.pixels.unflatten(2, (BLOCKS, -1)).unflatten(1, (BLOCKS, -1)).mean((2, 4))
    tall, wide = height // BLOCKS, width // BLOCKS
    rows = Axis("block_row", tuple(f"{tall * i}-{tall * (i + 1)}" for i in range(BLOCKS)))
    across = Axis("block_column", tuple(f"{wide * i}-{wide * (i + 1)}" for i in range(BLOCKS)))
    rgb, xyz = Axis("rgb", ("r", "g", "b")), Axis("xyz", ("x", "y", "z"))
    place = xyz if columns.landmarks.shape[-1] == 3 else Axis("xy", ("x", "y"))
    controls = (Axis("control", columns.names),)

    def of(values: Tensor, *axes: Axis) -> Jacobian:
        return Jacobian(values.movedim(0, -1), axes, controls)

    return {
        "vertices": of(columns.vertices, _counted("vertex", columns.vertices.shape[1]), xyz),
        "pixels": of(blocks, rows, across, rgb),
        "landmarks": of(columns.landmarks, _counted("landmark", columns.landmarks.shape[1]), place),
    }


def arrays(jacobians: dict[str, Jacobian]) -> dict[str, np.ndarray]:
    """For `numpy.savez`: `STATION.values`, and the names of axes and along them, see `Jacobian.arrays`."""
    return {
        f"{station}.{key}": array
        for station, jacobian in jacobians.items()
        for key, array in jacobian.arrays().items()
    }


def _counted(name: str, size: int) -> Axis:
    return Axis(name, tuple(map(str, range(size))))

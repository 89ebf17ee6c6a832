"""A block of flesh between two walls, on a floor, pulled down by muscles on its top."""

import itertools

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.quasistatic.contact import Obstacles, Touching
from pipeline.deform.quasistatic.flesh import Drive, Flesh
from pipeline.deform.quasistatic.neo_hookean import Elasticity
from pipeline.deform.quasistatic.solver import drive_of, flat

SIDE_M = 0.01  # of a cube, which is six tetrahedra


def block(x: int = 6, y: int = 2, z: int = 2) -> tuple[Flesh, Drive]:
    """x · y · z cubes; the ends x = 0 and x = most are driven, the floor is 0.8 mm below."""
    grid = np.arange((x + 1) * (y + 1) * (z + 1)).reshape(x + 1, y + 1, z + 1)
    tets = []
    for i, j, k in itertools.product(range(x), range(y), range(z)):
        for axes in itertools.permutations(range(3)):
            corner = np.array([i, j, k])
            path = [grid[tuple(corner)]]
            for axis in axes:
                corner[axis] += 1
                path.append(grid[tuple(corner)])
            even = (axes[1] - axes[0]) % 3 == 1
            tets.append(path if even else [path[1], path[0], path[2], path[3]])
    points = SIDE_M * np.stack(np.unravel_index(np.arange(grid.size), grid.shape), -1).astype(float)
    held = (points[:, 0] == 0) | (points[:, 0] == points[:, 0].max())
    order = np.concatenate([np.flatnonzero(~held), np.flatnonzero(held)])
    points, tets, free = points[order], np.argsort(order)[np.array(tets)], int((~held).sum())
    top = np.flatnonzero(points[:free, 2] == points[:free, 2].max())
    floor = np.flatnonzero(points[:free, 2] == 0)
    none = np.empty(0, np.int64)
    flesh = Flesh(
        tets,
        free,
        top,
        np.full(len(top), 1e3),
        np.full(free, 1e-3),
        Elasticity.of_moduli(3e4, 0.45),
        Touching(floor, none, np.empty(0)),
    )
    count, rest = len(floor), torch.from_numpy(points)
    nothing = torch.empty(0, 3, dtype=torch.float64)
    obstacles = Obstacles(
        torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).repeat(count, 1),
        torch.full((count,), -8e-4, dtype=torch.float64),
        torch.full((count,), 1e4, dtype=torch.float64),
        nothing,
        nothing[:, 0],
        nothing,
        nothing[:, 0],
    )
    driven = rest[free:].clone()
    driven[driven[:, 0] > 0.01] += torch.tensor([-0.006, 0.002, 0.001], dtype=torch.float64)
    target = rest[top] + torch.tensor([0.0, 0.001, -0.003], dtype=torch.float64)
    gravity = torch.tensor([0.0, 0.0, -9.81], dtype=torch.float64)
    return flesh, Drive(rest, driven, target, gravity, obstacles)


def in_numpy(drive: Drive) -> Drive:
    """What the solver takes."""
    return drive_of([values.numpy() for values in flat(drive)])


def random_like(values: Tensor, seed: int = 0) -> Tensor:
    return torch.randn(values.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

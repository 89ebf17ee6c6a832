"""The energy of flesh under one drive, with its gradient and Hessian by the free nodes, compiled."""

import numpy as np
import torch

from pipeline.deform.quasistatic import elements
from pipeline.deform.quasistatic.contact import Obstacles, contact_energy, contact_gradient, contact_hessian
from pipeline.deform.quasistatic.flesh import Drive, Flesh
from pipeline.deform.quasistatic.sparsity import Sparsity

SLACK_M = 1e-5  # by which muscles are stretched in the smallest force that a residual is compared with

SHIFT = 1e-9  # of a projected Hessian's diagonal, as a share of its largest entry


class Potential:
    """Float64 numpy; positions x are (free, 3)."""

    def __init__(self, drive: Drive, flesh: Flesh, sparsity: Sparsity) -> None:
        self.drive, self.flesh, self.sparsity = drive, flesh, sparsity
        self._b, self._volume = elements.hat_gradients(np.ascontiguousarray(drive.rest), flesh.tets)
        material = flesh.material
        self._rest = flesh.tets, self._b, self._volume, material.mu, material.lam, material.alpha
        self._contact = Obstacles(*map(torch.from_numpy, drive.obstacles)), flesh.touching
        self.least = float(np.linalg.norm(flesh.pull)) * SLACK_M

    def nodes(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, self.drive.driven])

    def energy(self, x: np.ndarray) -> float:
        """Joules."""
        nodes, drive = self.nodes(x), self.drive
        stretch = x[self.flesh.muscles] - drive.target
        springs = 0.5 * (self.flesh.pull * (stretch**2).sum(1)).sum()
        weight = (self.flesh.mass * (x @ drive.gravity)).sum()
        touch = float(contact_energy(torch.from_numpy(x), *self._contact))
        return float(elements.energy(nodes, *self._rest) + springs - weight + touch)

    def gradient(self, x: np.ndarray) -> tuple[np.ndarray, float]:
        """g (free, 3) in newtons, and what to compare it with: the norms of the forces that it sums."""
        nodes, flesh, drive = self.nodes(x), self.flesh, self.drive
        elastic = elements.gradient(nodes, *self._rest)[: flesh.free]
        springs = flesh.pull[:, None] * (x[flesh.muscles] - drive.target)
        weight = flesh.mass[:, None] * drive.gravity
        touch = contact_gradient(torch.from_numpy(x), *self._contact).numpy()
        total = elastic + touch - weight
        total[flesh.muscles] += springs
        parts = sum(float(np.linalg.norm(part)) for part in (elastic, springs, weight, touch))
        return total, max(parts, self.least)

    def hessian(self, x: np.ndarray, projected: bool = False) -> np.ndarray:
        """Blocks (blocks, 3, 3) of the matrix; `projected`: positive definite, element by element."""
        nodes, sparsity = self.nodes(x), self.sparsity
        blocks = np.zeros((sparsity.blocks, 3, 3))
        elements.add_hessian(nodes, *self._rest, projected, sparsity.places, blocks)
        if projected:  # of elements that are collapsed to a point, nothing else would be left
            blocks[sparsity.diagonal] += SHIFT * float(blocks.max()) * np.eye(3)
        blocks[sparsity.diagonal[self.flesh.muscles]] += self.flesh.pull[:, None, None] * np.eye(3)
        who, single, lips = contact_hessian(torch.from_numpy(x), *self._contact, projected)
        np.add.at(blocks, sparsity.diagonal[who], single)
        blocks[sparsity.passing] += lips
        return blocks

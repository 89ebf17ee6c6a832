"""What is known of a face before any photo: the prior on the controls of a rig."""

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.config import Priors
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import SCORED
from pipeline.errors import ChainRigError
from pipeline.solve.priors import Prior, alike

SMILES = ("mouthSmileLeft", "mouthSmileRight")
# People do these to one side alone, or they exclude their twins.
EITHER_SIDE = ("eyeLook", "jaw", "mouthLeft", "mouthSmile")
GAZE = (  # looking to one side turns one eye towards the nose, the other away from it
    ("eyeLookInLeft", "eyeLookOutRight"),
    ("eyeLookOutLeft", "eyeLookInRight"),
    ("eyeLookUpLeft", "eyeLookUpRight"),
    ("eyeLookDownLeft", "eyeLookDownRight"),
)


def build_prior(rig: Rig, settings: Priors, held: dict[str, float]) -> Prior:
    """The prior of a face about which nothing is known but that it is a face.

    Expressions are few and mild: a Laplace and a Gaussian density over [0, 1]; left and right differ little,
    but for smiles and what goes to one side, and eyes look the same way. Identity is a Gaussian whose
    width is the same in millimetres for every shape, so that a control that moves the whole face is held
    tighter than one that moves a nostril. The pose is free.

    Args:
        held: controls fixed at a value.

    Raises:
        ChainRigError: one is held where it cannot be.
    """
    space = rig.controls
    for control in space.controls:
        value = held.get(control.name)
        if value is not None and not control.low - 1e-6 <= value <= control.high + 1e-6:
            ends = f"from {control.low:g} to {control.high:g}"
            raise ChainRigError(f"controls.{control.name} cannot be {value:g}: it goes {ends}.")
    expression, identity = space.groups["expression"], space.groups["identity"]
    precision, sparsity = torch.zeros(len(space)).double(), torch.zeros(len(space)).double()
    precision[expression] = settings.expression
    sparsity[expression] = settings.sparsity
    for name in SMILES:  # what people do in photographs: nothing holds them back
        if name in space.names:
            precision[space.index(name)] = sparsity[space.index(name)] = 0.0
    precision[identity] = settings.identity * identity_stiffness(rig)
    low, high = space.low.clone(), space.high.clone()
    fixed = space.pack(held, torch.full((len(space),), torch.nan, dtype=torch.float64))
    is_fixed = ~fixed.isnan()
    low[is_fixed], high[is_fixed] = fixed[is_fixed], fixed[is_fixed]
    return Prior(space.rest.clone(), precision, sparsity, low, high, coupling(rig, settings))


def coupling(rig: Rig, settings: Priors) -> Tensor:
    """`(K, K)` float64: the two sides of a face do much the same, and the two eyes look the same way."""
    space = rig.controls
    sides = [
        (left, right)
        for left, right in space.mirror_pairs
        if space.controls[left].group == "expression" and not space.names[left].startswith(EITHER_SIDE)
    ]
    eyes = [(space.index(a), space.index(b)) for a, b in GAZE if a in space.names and b in space.names]
    return alike(sides, settings.symmetry, len(space)) + alike(eyes, settings.gaze, len(space))


def last_prior(prior: Prior, rig: Rig, settings: Priors, found: Tensor) -> Prior:
    """The prior of the last stage: of an unknown head, identity takes up what is left.

    Where identity is held, expressions go on.

    Args:
        found: `(K,)` controls of the stage before.
    """
    identity = rig.controls.groups["identity"]
    if (prior.low[identity] == prior.high[identity]).all():
        return prior
    return relax_identity(prior, rig, settings, found)


def relax_identity(prior: Prior, rig: Rig, settings: Priors, found: Tensor) -> Prior:
    """Expressions stay near what was found, identity takes up what is left.

    A stiff identity first makes expressions explain what they can; details of the face's shape come after.

    Args:
        found: `(K,)` controls of the stage before.
    """
    space = rig.controls
    expression, identity = space.groups["expression"], space.groups["identity"]
    mean, precision, sparsity = prior.mean.clone(), prior.precision.clone(), prior.sparsity.clone()
    mean[expression], sparsity[expression] = found[expression], 0.0
    precision[expression] = settings.expression_found
    precision[identity] = settings.identity_detail * identity_stiffness(rig)
    return replace(prior, mean=mean, precision=precision, sparsity=sparsity)


def identity_stiffness(rig: Rig, millimetres: float = 1.5) -> Tensor:
    """`(N,)` float64: (root mean square motion of control = 1 / `millimetres`)², at least 0.1.

    The motion is that of the scored landmarks or of the whole mesh, whichever is larger: a skull that nobody
    sees should not grow to fit a brow.
    """
    small = rig.at_landmarks()
    assert small.landmark_barycentric is not None
    corners = small.identity_deltas.double()[:, small.triangles]  # [N, L, 3, 3]
    landmarks = (small.landmark_barycentric.double()[..., None] * corners).sum(-2)[:, list(SCORED)]
    square = [deltas.square().sum(-1).mean(-1) for deltas in (landmarks, rig.identity_deltas.double())]
    return (torch.maximum(*square) / (millimetres / 1000) ** 2).clamp(min=0.1)

"""Who asked for what: which landmarks pull which control up or down."""

import torch

from pipeline.derivatives.axes import Axis
from pipeline.derivatives.dropout import contributions
from pipeline.derivatives.jacobian import Jacobian
from pipeline.inspection.findings import Attribution, Columns
from pipeline.inspection.scene import Scene


def attribute(scene: Scene, columns: Columns, regions: tuple[str, ...]) -> Attribution:
    """The terms of −Jᵀ W r over the landmarks that the fit compares; zero for the others.

    Args:
        regions: `(L,)` of the landmarks.
    """
    scored = scene.objective.scored
    with torch.no_grad():
        landmarks = scene.chain(scene.x.float())
    weight = scene.objective.scale.weight
    residual = (landmarks - scene.objective.target)[scored, :2] * weight
    values = columns.landmarks[:, scored, :2].movedim(0, -1) * weight
    labels = tuple(map(str, scored.tolist()))
    jacobian = Jacobian(
        values, (Axis("landmark", labels), Axis("xy", ("x", "y"))), (Axis("control", columns.names),)
    )
    terms = torch.zeros(len(regions), len(columns.controls))
    terms[scored] = -contributions(jacobian, residual)
    return Attribution(columns.names, regions, terms)

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
    objective, compared = scene.objective, scene.objective.comparison
    per_pixel = objective.per_pixel.view(-1, 2).float()
    with torch.no_grad():
        residual = objective.of_detected(scene.chain(scene.x.float()), scene.x)[: per_pixel.numel()]
    values = compared.detected(columns.landmarks).movedim(0, -1) * per_pixel[..., None]  # [M, 2, K]
    points = Axis("point", tuple(map(str, range(len(compared)))))
    jacobian = Jacobian(values, (points, Axis("xy", ("x", "y"))), (Axis("control", columns.names),))
    terms = -contributions(jacobian, residual.view(-1, 2).float(), "point")  # [M, K]
    return Attribution(columns.names, regions, compared.from_detector.T.to(terms) @ terms)

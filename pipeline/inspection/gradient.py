"""Where did my gradient go? The residual's gradient, layer by layer on its way back to the controls.

At every station the controls can act on some directions only: the span of the columns ∂X_j/∂X1 = C_j. What
part of the gradient g_j lies in it needs C_j and the last gradient only, as C_jᵀ g_j = g_1 (the chain rule):
‖P g_j‖² = g_1ᵀ (C_jᵀ C_j)⁺ g_1. At the landmarks, both are taken in units of the residual: points count
there as they do in the fit.
"""

import torch
from torch import Tensor

from pipeline.controls import Control
from pipeline.derivatives.automatic import vjp
from pipeline.inspection.findings import Columns, DeadControl, GradientStation
from pipeline.inspection.scene import Scene
from pipeline.render.passes import coverage
from pipeline.uncertainty import POSE_SPAN

UNMOVED_M = 1e-5  # a vertex that the full range moves less does not move
UNSEEN = 0.5 / 255  # change of a pixel that an 8-bit picture cannot show
UNMOVED_PX = 0.2  # of a landmark, over the full range: less cannot be told from noise
INSIDE = 0.999  # share of a pixel that is covered where no outline passes


def natural_size(control: Control) -> float:
    """What counts as the full range of a control, see `uncertainty.ranges`."""
    span = POSE_SPAN.get(control.unit)
    return control.high - control.low if span is None else 2 * span


def follow_gradient(scene: Scene, columns: Columns, regions: tuple[str, ...]) -> tuple[GradientStation, ...]:
    """∂f̂/∂X4, ∂f̂/∂X3, ∂f̂/∂X2 and ∂f̂/∂X1 of f̂ = ½ |r|², without the prior.

    Args:
        columns: of the controls that may act.
        regions: `(L,)` of the landmarks.
    """
    names = ("landmarks", "pixels", "vertices", "controls")
    units = ("a pixel of distance", "a unit of colour", "a metre", "the control's range")
    layers = list(scene.chain)
    stations = [station.detach() for station in scene.chain.stations(scene.x.float())]
    landmarks = stations[-1].requires_grad_()
    residual = scene.objective.of_detected(landmarks, scene.x)
    gradients = [torch.autograd.grad(0.5 * residual.square().sum(), landmarks)[0]]
    for layer, x in zip(reversed(layers), reversed(stations[:-1]), strict=True):
        gradients.append(vjp(layer, x)[1](gradients[-1]))
    at = [scene.rig.controls.index(name) for name in columns.names]
    size = torch.tensor([natural_size(control) for control in columns.controls], dtype=torch.float64)
    control_gradient = gradients[-1].double()[at]
    gradients[-1] = control_gradient * size

    per_pixel = scene.objective.per_pixel.view(-1, 2)
    weighted = scene.objective.comparison.detected(columns.landmarks.double()) * per_pixel
    moved = (weighted, columns.pixels, columns.vertices)
    asked = (residual[: per_pixel.numel()].detach().view(-1, 2), *gradients[1:3])
    reaches = [_reach(c, control_gradient, g) for c, g in zip(moved, asked, strict=True)]
    free = ~_pushed_out(columns, control_gradient)
    reaches.append(_share(gradients[-1], free))
    shares = [
        _by_name(gradients[0], regions),
        _pixel_shares(scene, stations[1], gradients[1]),
        _vertex_shares(scene, gradients[2]),
        _by_name(gradients[3], tuple(control.group for control in columns.controls)),
    ]
    maps = [None, gradients[1].norm(dim=-1), gradients[2].norm(dim=-1), None]
    through = ["", *(layer.name for layer in reversed(layers))]
    return tuple(
        GradientStation(name, layer, float(gradient.norm()), unit, reach, share, picture)
        for name, layer, gradient, unit, reach, share, picture in zip(
            names, through, gradients, units, reaches, shares, maps, strict=True
        )
    )


def dead_controls(scene: Scene, columns: Columns, gradient: Tensor | None) -> tuple[DeadControl, ...]:
    """Controls that nothing seen depends on, or that are at the end of their range and pushed further.

    Args:
        gradient: `(K,)` ∂f̂/∂X1 of the columns' controls, where there is a residual.
    """
    found = []
    stuck = _pushed_out(columns, gradient) if gradient is not None else torch.zeros(len(columns.controls))
    hidden = _Hidden(scene)
    for k, control in enumerate(columns.controls):
        size = natural_size(control)
        moved = columns.vertices[k].norm(dim=-1) * size  # [V]
        if float(moved.max()) < UNMOVED_M:
            found.append(DeadControl(control.name, "deform", "it moves no vertex of this rig here"))
        elif float(columns.pixels[k].abs().max()) * size < UNSEEN:
            found.append(DeadControl(control.name, "render", hidden.reason(moved > UNMOVED_M)))
        elif (shift := float(columns.landmarks[k, :, :2].norm(dim=-1).max()) * size) < UNMOVED_PX:
            reason = f"pixels change, but its full range moves no landmark by more than {shift:.2f} px"
            found.append(DeadControl(control.name, "detect", reason))
        elif stuck[k]:
            end = "upper" if columns.values[k] >= control.high else "lower"
            found.append(
                DeadControl(control.name, "range", f"it is at the {end} end of its range, and pushed on")
            )
    return tuple(found)


class _Hidden:
    """Why vertices are not seen."""

    def __init__(self, scene: Scene) -> None:
        renderer = list(scene.chain)[1]
        with torch.no_grad():
            self.vertices = list(scene.chain)[0](scene.x.float())
            seen = renderer.fragments(self.vertices).triangle.unique()  # type: ignore[operator]  # a Renderer
        self.camera = scene.camera
        self.seen = torch.zeros(len(self.vertices), dtype=torch.bool)
        self.seen[scene.rig.triangles[seen].flatten()] = True

    def reason(self, moved: Tensor) -> str:
        """For the vertices `(V,)` that a control moves, as a sentence without a full stop."""
        height, width = self.camera.size
        x, y = self.camera.project(self.vertices[moved]).unbind(-1)
        outside = (x < 0) | (x > width) | (y < 0) | (y > height)
        if bool(outside.all()):
            return "what it moves is outside of the picture"
        if not bool(self.seen[moved].any()):
            return "what it moves is hidden behind other parts of the head"
        return "what it moves looks the same before and after"


def _pushed_out(columns: Columns, gradient: Tensor) -> Tensor:
    """`(K,)` bool: at an end of the range, and descent would go beyond."""
    low = torch.tensor([control.low for control in columns.controls], dtype=torch.float64)
    high = torch.tensor([control.high for control in columns.controls], dtype=torch.float64)
    return ((columns.values <= low) & (gradient > 0)) | ((columns.values >= high) & (gradient < 0))


def _reach(columns: Tensor, control_gradient: Tensor, gradient: Tensor) -> float:
    """Share of ‖gradient‖² inside the span of the columns `(K, …)`."""
    size = float(gradient.double().square().sum())
    if size == 0:
        return 0.0
    flat = columns.flatten(1).double()
    length = flat.norm(dim=-1)
    length = torch.where(length > 0, length, 1.0)  # columns of one length: the cut-off below knows no units
    unit = flat / length[:, None]
    inverse = torch.linalg.pinv(unit @ unit.T, rtol=1e-6, hermitian=True)
    part = control_gradient / length
    return min(1.0, float(part @ inverse @ part) / size)


def _pixel_shares(scene: Scene, vertices: Tensor, gradient: Tensor) -> dict[str, float]:
    covered = coverage(list(scene.chain)[1], vertices)  # type: ignore[arg-type]  # a Renderer
    wide = torch.nn.functional.max_pool2d((covered * 1.0)[None], 3, stride=1, padding=1)[0]
    behind = wide == 0
    inside = covered >= INSIDE
    return {
        "head": _share(gradient, inside),
        "its outline": _share(gradient, ~inside & ~behind),
        "background": _share(gradient, behind),
    }


def _vertex_shares(scene: Scene, gradient: Tensor) -> dict[str, float]:
    """By the parts of the mesh; lashes and teeth are one part each, as is what nobody sees."""
    rig = scene.rig
    part = torch.zeros(len(gradient), dtype=torch.int64)
    part[rig.triangles.flatten()] = rig.part_of_triangle.repeat_interleave(3)
    kinds = [name.split("_")[0] for name in rig.part_names]
    return _by_name(gradient, tuple(kinds[i] for i in part.tolist()))


def _by_name(gradient: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    """Shares of the squared norm of `(N, …)`, the largest first; what is nothing is left out."""
    square = gradient.double().square().reshape(len(gradient), -1).sum(-1)
    total = float(square.sum()) or 1.0
    sums: dict[str, float] = {}
    for name, value in zip(names, square.tolist(), strict=True):
        sums[name] = sums.get(name, 0.0) + value / total
    return {name: share for name, share in sorted(sums.items(), key=lambda item: -item[1]) if share > 0}


def _share(gradient: Tensor, where: Tensor) -> float:
    total = float(gradient.double().square().sum()) or 1.0
    return float(gradient[where].double().square().sum()) / total

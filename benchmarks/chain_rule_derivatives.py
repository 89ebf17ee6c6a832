"""The derivatives of the chain that docs/chain-rule.md compares, and how a solver is given them.

The chain's value stays what it is. Its derivative is a mean over draws, each the derivative of a chain seen
through a window that is a little shifted or scaled, with grain on the picture, or at controls close by; and
of a detector whose kinks are softened.
"""

import copy
import math
from dataclasses import dataclass, replace

import torch
from chain_rule_faces import Case
from chain_rule_network import detector
from torch import Tensor

from pipeline.derivatives import automatic
from pipeline.derivatives.closed_layers import closed_jacobian
from pipeline.derivatives.linearize import linearize
from pipeline.detect.facemesh import FaceMesh
from pipeline.objective import LandmarkObjective
from pipeline.render.camera import Camera
from pipeline.render.renderer import Renderer
from pipeline.solve.problem import Vjp

AT_ONCE = 16  # tangents through a layer
JITTER = {"rad": math.radians(2), "m": 0.003, "": 0.05}  # of controls, one standard deviation


@dataclass(frozen=True)
class Draw:
    """What is different in one draw.

    Attributes:
        shift: of the picture in pixels of the view.
        scale: of the picture about its middle.
        grain: standard deviation of noise on the pixels' values.
        jitter: of the controls, in units of `JITTER`; expressions and pose.
        seed: of both.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    grain: float = 0.0
    jitter: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Derivative:
    """One derivative of the chain.

    Attributes:
        rectifier, pool: widths of the detector's softened kinks, in standard deviations of a channel.
        samples: a pixel, along each side, of the render that is differentiated.
        draws: it is their mean.
        length: it is multiplied by this.
        share, pose_share: of this derivative, for expressions and identity and for the pose; the stand-in's
            Jacobian has the rest.
    """

    rectifier: float = 0.3
    pool: float = 0.0
    samples: int = 2
    draws: tuple[Draw, ...] = (Draw(),)
    length: float = 1.0
    share: float = 1.0
    pose_share: float = 1.0


def shifts(count: int, most: float) -> tuple[Draw, ...]:
    """Spread evenly over a square of ± `most` pixels, by the R2 sequence."""
    return tuple(Draw(shift=(_spread(i, 0, most), _spread(i, 1, most))) for i in range(1, count + 1))


def scales(count: int, most: float) -> tuple[Draw, ...]:
    """From 1 − `most` to 1 + `most`."""
    return tuple(Draw(scale=1 + most * (2 * (i + 0.5) / count - 1)) for i in range(count))


def grains(count: int, deviation: float) -> tuple[Draw, ...]:
    return tuple(Draw(grain=deviation, seed=i) for i in range(count))


def jitters(count: int, size: float) -> tuple[Draw, ...]:
    """Antithetic: every second draw goes the other way."""
    return tuple(Draw(jitter=size * (1 - 2 * (i % 2)), seed=i // 2) for i in range(count))


def _spread(i: int, axis: int, most: float) -> float:
    return most * (2 * ((0.5 + i * (0.7548776662466927, 0.5698402909980532)[axis]) % 1) - 1)


class Window:
    """deform, render and detect, as one draw has them."""

    def __init__(self, case: Case, derivative: Derivative, draw: Draw, network: FaceMesh) -> None:
        self.case, self.draw, self.network = case, draw, network
        studio, camera = case.fitter.studio, case.camera
        self.deform = studio.deform
        middle = torch.tensor([size / 2 for size in reversed(camera.size)])
        self.moved = torch.tensor(draw.shift) + (1 - draw.scale) * middle
        view = draw.scale * camera.view
        view = torch.cat([view[:, :2], view[:, 2:] + self.moved[:, None]], 1)
        seen = Camera(camera.focal_px, camera.principal_point_px, view, camera.size)
        self.renderer: Renderer = studio.renderer(seen, case.look, samples=derivative.samples)
        noise = torch.Generator().manual_seed(draw.seed)
        self.grain = draw.grain * torch.randn(*camera.size, 3, generator=noise)
        self.jitter = draw.jitter * _jitter(case, noise)

    def landmarks(self, x: Tensor) -> Tensor:
        """X4 `(478, 3)` in the pixels of the case's own view."""
        return self.back(self.network(self.renderer(self.deform(self.near(x))) + self.grain))

    def near(self, x: Tensor) -> Tensor:
        """`(K,)` float32: the controls, or some close by, within their ranges."""
        space = self.case.fitter.rig.controls
        return (x + (space.clamped(x + self.jitter) - x).detach()).float() if self.draw.jitter else x.float()

    def back(self, landmarks: Tensor) -> Tensor:
        away = torch.cat([self.moved, torch.zeros(1)]).to(landmarks)
        return (landmarks - away) / self.draw.scale

    @torch.no_grad()
    def pixel_columns(self, x: Tensor, directions: Tensor) -> Tensor:
        """∂X3/∂X1 · d for directions `(n, K)`: `(n, 256, 256, 3)`."""
        near = self.near(x)
        matrix = closed_jacobian(self.deform, near, torch.arange(len(near)))
        vertices = self.deform(near)
        assert matrix is not None
        moved = (matrix @ directions.float().T).movedim(-1, 0).contiguous()
        push = linearize(self.renderer, vertices)
        return torch.cat([push(some) for some in moved.split(AT_ONCE)])

    @torch.no_grad()
    def columns(self, x: Tensor, pixels: Tensor) -> Tensor:
        """∂X4/∂X3 · those: `(n, 478, 3)`."""
        picture = self.renderer(self.deform(self.near(x))) + self.grain
        if any(type(module).__name__.startswith("S") for module in self.network.trunk):  # has soft pools
            moved = automatic.push(self.network, picture, pixels, AT_ONCE)
        else:
            push = linearize(self.network, picture)
            moved = torch.cat([push(some) for some in pixels.split(AT_ONCE)])
        return moved / self.draw.scale


def _jitter(case: Case, noise: torch.Generator) -> Tensor:
    """`(K,)` float64: of expressions and pose; identity stays."""
    space = case.fitter.rig.controls
    size = torch.tensor([JITTER[c.unit] if c.group != "identity" else 0.0 for c in space.controls]).double()
    return size * torch.randn(len(size), generator=noise, dtype=torch.float64)


class Differentiated:
    """A face's problem with a derivative of our choice: `Chain`, `Differentiable` of `solve/problem.py`.

    Attributes:
        passes: forward passes that only the derivative needed.
    """

    def __init__(self, case: Case, derivative: Derivative) -> None:
        self.case, self.derivative = case, derivative
        self.objective: LandmarkObjective = copy.copy(case.objective)
        self.objective.evaluations = self.objective.gradients = 0
        self.network = detector(derivative.rectifier, derivative.pool)
        self.windows = [Window(case, derivative, draw, self.network) for draw in derivative.draws]
        self.passes = 0
        self.share = torch.full_like(case.start, derivative.share)
        self.share[case.fitter.rig.controls.groups["pose"]] = derivative.pose_share
        self.percent = self.objective.percent
        self.residual = self.objective.residual
        self.embedded = self.objective.stand_in
        self.sigma_percent, self.comparison = self.objective.sigma_percent, self.objective.comparison

    def residual_and_vjp(self, x: Tensor) -> tuple[Tensor, Vjp]:
        """r as it is, and v → Jᵀv by this derivative."""

        def vjp(v: Tensor) -> Tensor:
            self.objective.gradients += len(self.windows)
            self.passes += len(self.windows) - 1
            pulled = torch.zeros_like(x)
            for window in self.windows:
                leaf = x.detach().requires_grad_()
                residual = self.objective.of_detected(window.landmarks(leaf), leaf)
                pulled = pulled + torch.autograd.grad(residual, leaf, v)[0] / len(self.windows)
            pulled = self.derivative.length * pulled
            if bool((self.share == 1).all()):
                return pulled
            return self.share * pulled + (1 - self.share) * (self.embedded(x).mT @ v)

        return self.objective.residual(x), vjp

    def jacobian(self, x: Tensor) -> Tensor:
        """J `(2M, K)`, pushed forward."""
        return self.columns(x, torch.eye(len(x), dtype=x.dtype))

    def columns(self, x: Tensor, directions: Tensor, pixels: dict[object, Tensor] | None = None) -> Tensor:
        """J d for directions `(n, K)`, one control each: `(2M, n)` float64.

        Args:
            pixels: where ∂X3/∂X1 · d is kept, by what it depends on; for derivatives at the same point.
        """
        pixels = {} if pixels is None else pixels
        total = torch.zeros(len(directions), 478, 3).double()
        for window in self.windows:
            seed = window.draw.seed if window.draw.jitter else 0
            key = self.derivative.samples, replace(window.draw, grain=0.0, seed=seed)
            if key not in pixels:
                pixels[key] = window.pixel_columns(x, directions)
            total += window.columns(x, pixels[key]).double() / len(self.windows)
        moved = self.comparison.detected(total).flatten(-2) * self.objective.per_pixel
        share = directions @ self.share
        return self.derivative.length * moved.T * share + (self.embedded(x) @ directions.T) * (1 - share)

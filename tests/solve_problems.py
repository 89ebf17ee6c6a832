"""The standard problems that every solver is tried on, here and in benchmarks/solver_problems.py, and the
solvers.

Every problem is least squares with a prior and a box, a start, and what SciPy finds. Residuals take leading
dimensions `(*B, K)`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from pipeline.chain import build_stand_in
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import SCORED
from pipeline.render.camera import Camera
from pipeline.solve.adam import Adam
from pipeline.solve.adjoint_broyden import AdjointBroyden
from pipeline.solve.column_space import ColumnSpace
from pipeline.solve.dogleg import Dogleg
from pipeline.solve.gauss_newton import GaussNewton
from pipeline.solve.gradient_descent import GradientDescent
from pipeline.solve.lbfgs import LBFGS
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.line_search import Armijo, StrongWolfe
from pipeline.solve.momentum import Momentum
from pipeline.solve.nesterov import Nesterov
from pipeline.solve.priors import Prior, flat
from pipeline.solve.problem import LeastSquares, Vjp
from pipeline.solve.rmsprop import RMSprop
from pipeline.solve.solver import Solver

INF = math.inf


@dataclass
class Standard:
    """One problem.

    Attributes:
        function: `(*B, K)` → `(*B, M)`.
        prior: with the box.
        start: `(K,)` float64 inside the box.
    """

    function: Callable[[Tensor], Tensor]
    prior: Prior
    start: Tensor

    def metric(self) -> Tensor:
        """`(K,)` 1 / the diagonal of JᵀJ and the prior at the start: what is far for a control, squared."""
        jacobian = LeastSquares(self.function).jacobian(self.start)
        return 1 / (jacobian.square().sum(0) + self.prior.precision)

    def problem(self) -> "Counted":
        return Counted(self.function)

    def objective(self, x: Tensor) -> Tensor:
        """`(*B,)`."""
        return 0.5 * self.function(x).square().sum(-1) + self.prior.value(x)

    def optimum(self) -> float:
        """The least objective that SciPy's L-BFGS-B finds from the same start, in units of the metric."""
        unit, problem = self.metric().sqrt(), self.problem()

        def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
            x = self.prior.project(torch.from_numpy(z) * unit)
            residual, vjp = problem.residual_and_vjp(x)
            value = 0.5 * residual.square().sum() + self.prior.value(x)
            return float(value), ((vjp(residual) + self.prior.gradient(x)) * unit).numpy()

        box = list(zip((self.prior.low / unit).tolist(), (self.prior.high / unit).tolist(), strict=True))
        options = {"maxiter": 2000, "maxfun": 4000, "maxcor": 30, "ftol": 1e-16, "gtol": 1e-12}
        start = (self.start / unit).numpy()
        found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=box, options=options)
        return float(found.fun)


class Counted(LeastSquares):
    """With a stand-in that is 0.8 of the Jacobian, for adjoint Broyden; keeps the points that it saw."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__(function)
        self.seen: list[Tensor] = []

    def residual(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return super().residual(x)

    def residual_and_vjp(self, x: Tensor) -> tuple[Tensor, Vjp]:
        self.seen.append(x)
        return super().residual_and_vjp(x)

    def stand_in(self, x: Tensor) -> Tensor:
        return 0.8 * self.jacobian(x)


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def anywhere(size: int) -> Prior:
    return flat(torch.full((size,), -INF, dtype=torch.float64), torch.full((size,), INF, dtype=torch.float64))


def rosenbrock(x: Tensor) -> Tensor:
    """Rosenbrock, 1960: a curved valley, minimum 0 at (1, 1)."""
    a, b = x.unbind(-1)
    return torch.stack([10 * (b - a.square()), 1 - a], -1)


def powell(x: Tensor) -> Tensor:
    """Powell's singular function, 1962: at its minimum, 0 at 0, the Jacobian loses two of four ranks."""
    a, b, c, d = x.unbind(-1)
    rows = [a + 10 * b, 5**0.5 * (c - d), (b - 2 * c).square(), 10**0.5 * (a - d).square()]
    return torch.stack(rows, -1)


def random(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bent(matrix: Tensor, aim: Tensor) -> Callable[[Tensor], Tensor]:
    """Linear residuals with a mild bend in each."""

    def function(x: Tensor) -> Tensor:
        linear = (x - aim) @ matrix.mT
        return linear + 0.1 * torch.sin(linear)

    return function


def bounded() -> Standard:
    """Twelve controls in [0, 1], some of which would leave it."""
    aim = 0.5 + 0.7 * random(12)
    zero, one = torch.zeros(12, dtype=torch.float64), torch.ones(12, dtype=torch.float64)
    return Standard(bent(random(30, 12, seed=4), aim), flat(zero, one), 0.5 * one)


def ill_conditioned(condition: float = 1e3) -> Standard:
    """Singular values from 1 down to 1/condition; a prior keeps no direction."""
    left, right = (torch.linalg.qr(random(n, 8, seed=n))[0] for n in (20, 8))
    matrix = left * torch.logspace(0, -math.log10(condition), 8, dtype=torch.float64) @ right.T
    return Standard(bent(matrix, random(8, seed=9)), anywhere(8), torch.zeros(8, dtype=torch.float64))


def toy_rig() -> Standard:
    """Five landmarks in the plane; three blendshapes in [0, 1], a turn and a shift: 10 residuals."""
    rest = torch.tensor([[-1.0, 1], [1, 1], [0, 0], [-0.6, -1], [0.6, -1]], dtype=torch.float64)
    shapes = 0.5 * random(3, 5, 2, seed=11)

    def landmarks(x: Tensor) -> Tensor:
        face = rest + torch.einsum("...e,eld->...ld", x[..., :3], shapes)
        cos, sin = x[..., 3].cos(), x[..., 3].sin()
        turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
        return face @ turn.mT + x[..., None, 4:]

    target = landmarks(vector(0.7, 0.0, 0.3, 0.2, 0.1, -0.2)) + 0.01 * random(5, 2, seed=12)
    low, high = vector(0, 0, 0, -INF, -INF, -INF), vector(1, 1, 1, INF, INF, INF)
    prior = Prior(
        torch.zeros(6).double(),
        vector(0.01, 0.01, 0.01, 0, 0, 0),
        vector(0.005, 0.005, 0.005, 0, 0, 0),
        low,
        high,
    )
    return Standard(lambda x: (landmarks(x) - target).flatten(-2), prior, torch.zeros(6, dtype=torch.float64))


def default_rig() -> Standard:
    """Expressions and pose of the default rig, 58 unknowns, seen as a landmark embedding by a made-up camera:
    108 residuals, in units of 0.2 % of the outer-eye distance over all landmarks. The face smiles and has
    turned; the start is at rest a little nearer."""
    rig = Rig.load()
    space = rig.controls
    stand_in = build_stand_in(rig, Camera(torch.tensor(1000.0), torch.tensor([128.0, 118.0]))).double()
    free = torch.ones(len(space), dtype=torch.bool)
    free[space.groups["identity"]] = False
    places = free.nonzero().squeeze(-1)

    def landmarks(x: Tensor) -> Tensor:
        whole = space.rest.expand(*x.shape[:-1], -1).index_copy(-1, places, x)
        return stand_in(whole)[..., list(SCORED)[::8], :2]

    smile = {"jawOpen": 0.4, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.5, "browInnerUp": 0.3}
    pose = {"headRotationY": 0.15, "headTranslationX": 0.01, "headTranslationZ": -1.05}
    target = landmarks(space.pack(smile | pose, space.rest)[free]).detach()
    weight = 1 / (0.002 * 95 * target.shape[-2] ** 0.5)
    expression = torch.zeros(len(space), dtype=torch.float64)
    expression[space.groups["expression"]] = 1.0
    prior = Prior(
        space.rest[free], 0.5 * expression[free], expression[free], space.low[free], space.high[free]
    )
    start = space.pack({"headTranslationZ": -1.0}, space.rest)[free]
    return Standard(lambda x: ((landmarks(x) - target) * weight).flatten(-2), prior, start)


PROBLEMS: dict[str, Callable[[], Standard]] = {
    "Rosenbrock": lambda: Standard(rosenbrock, anywhere(2), vector(-1.2, 1.0)),
    "Powell singular": lambda: Standard(powell, anywhere(4), vector(3.0, -1.0, 0.0, 1.0)),
    "bounded": bounded,
    "ill-conditioned": ill_conditioned,
    "toy rig": toy_rig,
    "default rig": default_rig,
}

Make = Callable[[Tensor | None, int], Solver]  # from a metric and the most steps

FIRST_ORDER: dict[str, Make] = {
    "gradient descent": lambda metric, steps: GradientDescent(metric=metric, steps=steps),
    "momentum": lambda metric, steps: Momentum(metric=metric, steps=steps),
    "Nesterov": lambda metric, steps: Nesterov(metric=metric, steps=steps),
    "RMSprop": lambda metric, steps: RMSprop(steps=steps),
    "Adam": lambda metric, steps: Adam(steps=steps),
}
CURVED: dict[str, Make] = {
    "L-BFGS": lambda metric, steps: LBFGS(metric=metric, steps=steps),
    "L-BFGS, Armijo": lambda metric, steps: LBFGS(
        search=Armijo(grow=INF, most=1.0), metric=metric, steps=steps
    ),
    "Gauss–Newton": lambda metric, steps: GaussNewton(steps=steps),
    "Gauss–Newton, Wolfe": lambda metric, steps: GaussNewton(search=StrongWolfe(), steps=steps),
    "Levenberg–Marquardt": lambda metric, steps: LevenbergMarquardt(steps=steps),
    "dogleg": lambda metric, steps: Dogleg(steps=steps),
    "column space": lambda metric, steps: ColumnSpace(least=0.0, steps=steps),
    "adjoint Broyden": lambda metric, steps: AdjointBroyden(steps=steps, tolerance=1e-12, patience=10),
}
SOLVERS = FIRST_ORDER | CURVED

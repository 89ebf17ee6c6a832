"""What is rendered: every pose meets every light, every expression and every identity once.

An orthogonal array of strength two (Rao, "Factorial experiments derivable from combinatorial arrangements of
arrays", 1947): n² renders of n poses, n lights, n expressions and n identities, n a prime. In render (a, b)
the four are numbers a, b, a + b and a + 2b modulo n. Any two of the four meet once in each of their
combinations, so the mean over one light, say, is a mean over all poses, all expressions and all identities,
and what each of the four does to a landmark can be told apart (`statistics.py`).

The first light, expression and identity are the default ones; the others are drawn.
"""

import math
from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from pipeline.appearance_prior import LIMIT, UNKNOWNS, decode
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.render.head_texture import DEFAULT_COLOURS, REGIONS
from pipeline.render.lighting import Light

FACTORS = ("pose", "light", "expression", "identity")
YAW, PITCH, ROLL = 45.0, 25.0, 20.0  # degrees to either side
NEAREST_M, FARTHEST_M = 0.6, 1.8
EYES_UP_M = 0.035  # the head stands a little above the optical axis, as in portraits
IDENTITY_SPREAD = 0.25  # of each control
LOOKS = 0.6  # of the spread of light and colours that `appearance_prior.py` allows photos to have
DRAWS = 200  # of poses
FEWEST, MOST = 25, 2209  # renders: below, interactions cannot be told; above, nothing is learned

Expression = tuple[str, dict[str, float]]


def _both(strength: float, *names: str) -> dict[str, float]:
    return {name + side: strength for name in names for side in ("Left", "Right")}


# Ordered so that few renders have the commonest; as many to the left as to the right.
EXPRESSIONS: tuple[Expression, ...] = (
    ("neutral", {}),
    ("smile", _both(0.8, "mouthSmile") | _both(0.4, "cheekSquint")),
    ("jaw open", {"jawOpen": 0.6}),
    ("eyes closed", _both(1.0, "eyeBlink")),
    ("brows up", {"browInnerUp": 0.8} | _both(0.8, "browOuterUp")),
    ("brows down", _both(0.9, "browDown")),
    ("pucker", {"mouthPucker": 0.8}),
    ("laugh", {"jawOpen": 0.35} | _both(0.8, "mouthSmile") | _both(0.4, "mouthUpperUp")),
    ("frown", {"mouthShrugLower": 0.4} | _both(0.8, "mouthFrown")),
    ("sneer", _both(0.8, "noseSneer") | _both(0.5, "mouthUpperUp")),
    ("surprise", {"browInnerUp": 0.7, "jawOpen": 0.4} | _both(0.8, "eyeWide") | _both(0.6, "browOuterUp")),
    ("lips pressed", {"mouthRollLower": 0.5, "mouthRollUpper": 0.5} | _both(0.8, "mouthPress")),
    ("funnel", {"mouthFunnel": 0.8, "jawOpen": 0.2}),
    ("gaze down", _both(0.8, "eyeLookDown")),
    ("gaze up", _both(0.8, "eyeLookUp")),
    ("mouth to the left", {"mouthLeft": 0.7, "jawLeft": 0.4}),
    ("mouth to the right", {"mouthRight": 0.7, "jawRight": 0.4}),
)


@dataclass(frozen=True)
class Plan:
    """N = n² renders of n poses, lights, expressions and identities.

    Attributes:
        levels: `(N, 4)` int64: which pose, light, expression and identity each render shows; ordered by
            identity, n renders each.
        controls: `(N, K)` float32.
        yaw_deg: `(N,)` degrees, positive toward the subject's left.
        lights: n.
        colours: `(n, M, 3)` of the texture's regions, one of each identity.
        expressions: n names.
    """

    levels: Tensor
    controls: Tensor
    yaw_deg: Tensor
    lights: tuple[Light, ...]
    colours: Tensor
    expressions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.levels)


def require_count(renders: int) -> None:
    """Raises ChainRigError where a plan cannot have so many renders."""
    if not FEWEST <= renders <= MOST:
        raise ChainRigError(f"--renders takes {FEWEST} to {MOST}, not {renders}.")


def draw_plan(rig: Rig, renders: int, seed: int = 0) -> Plan:
    """About as many renders as asked for: the nearest square of a prime.

    Raises:
        ChainRigError: that number is out of range.
    """
    require_count(renders)
    n = min((p for p in range(5, 48) if _is_prime(p)), key=lambda p: abs(p * p - renders))
    generator = torch.Generator().manual_seed(seed)
    levels = _array(n, generator)
    poses, yaw = _poses(n, generator)
    names, expressions = _expressions(rig, n, generator)
    identities = IDENTITY_SPREAD * torch.randn(n, len(rig.identity_names), generator=generator)
    identities[0] = 0
    looks = LOOKS * torch.randn(2 * n, UNKNOWNS, generator=generator).clamp(-LIMIT, LIMIT)
    lights = [Light.default()] + [decode(theta)[0] for theta in looks[1:n]]
    colours = torch.stack([decode(theta)[1] for theta in looks[n:]])
    colours[0] = torch.tensor([DEFAULT_COLOURS[name] for name in REGIONS])

    pose, light, expression, identity = levels.unbind(-1)
    space, none = rig.controls, slice(0, 0)
    controls = space.pack({}).repeat(len(levels), 1)
    controls[:, space.groups.get("expression", none)] = expressions[expression]
    controls[:, space.groups.get("identity", none)] += identities[identity]
    controls[:, space.groups["pose"]] = poses[pose]
    controls = controls.clamp(space.low.float(), space.high.float())
    return Plan(levels, controls, yaw[pose], tuple(lights), colours, names)


def _array(n: int, generator: torch.Generator) -> Tensor:
    """`(n², 4)`: the array, the numbers of each factor shuffled, ordered by identity."""
    b, a = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    rows = torch.stack([a, b, (a + b) % n, (a + 2 * b) % n], -1).reshape(-1, 4)
    shuffled = torch.stack([torch.randperm(n, generator=generator)[column] for column in rows.T], -1)
    return shuffled[shuffled[:, 3].argsort(stable=True)]


def _poses(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`(n, 6)` pose controls and yaw `(n,)` in degrees.

    Poses come in mirrored pairs, and one looks straight ahead. To either side they are a Latin hypercube of
    angles and distance; of many, the one in which these go together least.
    """
    half = n // 2
    drawn = [_hypercube(half, generator) for _ in range(DRAWS)]
    place = min(drawn, key=lambda one: float((torch.corrcoef(one.T) - torch.eye(4)).abs().max()))
    place = torch.cat([place, torch.tensor([[0.0, 0.5, 0.5, 0.5]]), place])  # [n, 4] in [0, 1]
    side = torch.cat([torch.ones(half), torch.zeros(1), -torch.ones(half)])
    yaw, pitch = YAW * side * place[:, 0], PITCH * (2 * place[:, 1] - 1)
    roll = ROLL * side * (2 * place[:, 2] - 1)
    distance = NEAREST_M * (FARTHEST_M / NEAREST_M) ** place[:, 3]
    return torch.cat([rotation_vector(yaw, pitch, roll), _shift(distance)], -1), yaw


def _hypercube(n: int, generator: torch.Generator) -> Tensor:
    """`(n, 4)` in [0, 1): every nth of each coordinate is taken once."""
    strata = torch.stack([torch.randperm(n, generator=generator) for _ in range(4)], -1)
    return (strata + torch.rand(n, 4, generator=generator)) / n


def rotation_vector(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Degrees `(*B,)` → `(*B, 3)` radians: R = R_y(yaw) · R_x(−pitch) · R_z(roll), see `head_angles.py`."""
    angles = torch.stack([yaw, -pitch, roll], -1) * (math.pi / 180)
    return roma.euler_to_rotvec("YXZ", list(angles.unbind(-1)))


def _shift(distance: Tensor) -> Tensor:
    zero = torch.zeros_like(distance)
    return torch.stack([zero, zero + EYES_UP_M, -distance], -1)


def _expressions(rig: Rig, n: int, generator: torch.Generator) -> tuple[tuple[str, ...], Tensor]:
    """n names, and values `(n, E)`: the named ones, then mixtures of four controls."""
    values, known = torch.zeros(n, len(rig.expression_names)), list(rig.expression_names)
    names = [name for name, _ in EXPRESSIONS[:n]]
    for row, (_, expression) in zip(values, EXPRESSIONS, strict=False):
        for control, strength in expression.items():
            if control in known:
                row[known.index(control)] = strength
    for extra in range(len(EXPRESSIONS), n):
        some = torch.randperm(len(known), generator=generator)[:4]
        values[extra, some] = 0.7 * torch.rand(len(some), generator=generator)
        names.append(f"mixture {extra - len(EXPRESSIONS) + 1}")
    return tuple(names), values


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, number))

"""X1: the named controls of a rig, flat in memory and readable outside.

The axis is ordered by group: expression (ARKit's 52), identity, pose. Left and right are the subject's.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipeline.errors import ChainRigError

POSE_NAMES = (
    "headRotationX", "headRotationY", "headRotationZ",  # one rotation vector, radians
    "headTranslationX", "headTranslationY", "headTranslationZ",  # metres, camera space
)  # fmt: skip


@dataclass(frozen=True)
class Control:
    """One coordinate of X1.

    Attributes:
        name: ARKit's name where the meaning is ARKit's.
        group: "expression", "identity" or "pose".
        low, high: range in which the rig is meant to be used (not enforced here: solvers do).
        rest: value in the rest pose.
        unit: "" (strength), "rad" or "m".
    """

    name: str
    group: str
    low: float
    high: float
    rest: float = 0.0
    unit: str = ""


class ControlSpace:
    """The axis of X1: which control each of its K coordinates is.

    Raises:
        ChainRigError: two controls share a name, or a group is not contiguous.
    """

    def __init__(self, controls: Iterable[Control]) -> None:
        self.controls: tuple[Control, ...] = tuple(controls)
        self.names: tuple[str, ...] = tuple(control.name for control in self.controls)
        self._index = {name: i for i, name in enumerate(self.names)}
        if len(self._index) < len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ChainRigError(f"Two controls share the name {twice[0]}: rename one of them.")
        self.groups: dict[str, slice] = {}
        for i, control in enumerate(self.controls):
            start = self.groups.get(control.group, slice(i, i)).start
            if any(other.group != control.group for other in self.controls[start:i]):
                raise ChainRigError(f"The controls of group {control.group} are not adjacent: sort them.")
            self.groups[control.group] = slice(start, i + 1)

    @classmethod
    def of_rig(
        cls,
        expression_names: Sequence[str],
        identity_names: Sequence[str],
        identity_low: Sequence[float],
        identity_high: Sequence[float],
        expression_low: Sequence[float] | None = None,
        expression_high: Sequence[float] | None = None,
        expression_units: Sequence[str] | None = None,
    ) -> "ControlSpace":
        """Expression (in [0, 1] if nothing else is said) and identity in their ranges, and the head's pose.

        All three groups are there, empty ones too.
        """
        count = len(expression_names)
        expressions = zip(
            expression_names,
            expression_low or [0.0] * count,
            expression_high or [1.0] * count,
            expression_units or [""] * count,
            strict=True,
        )
        shapes = zip(identity_names, identity_low, identity_high, strict=True)
        space = cls(
            [Control(name, "expression", low, high, unit=unit) for name, low, high, unit in expressions]
            + [Control(name, "identity", low, high) for name, low, high in shapes]
            + [Control(name, "pose", -torch.pi, torch.pi, unit="rad") for name in POSE_NAMES[:3]]
            + [Control(name, "pose", -10.0, 10.0, unit="m") for name in POSE_NAMES[3:]]
        )
        ends = {"expression": 0, "identity": count, "pose": count + len(identity_names)}
        space.groups = {group: space.groups.get(group, slice(at, at)) for group, at in ends.items()}
        return space

    def __len__(self) -> int:
        return len(self.controls)

    @cached_property
    def low(self) -> Tensor:
        """(K,) float64."""
        return torch.tensor([control.low for control in self.controls], dtype=torch.float64)

    @cached_property
    def high(self) -> Tensor:
        """(K,) float64."""
        return torch.tensor([control.high for control in self.controls], dtype=torch.float64)

    @cached_property
    def rest(self) -> Tensor:
        """(K,) float64."""
        return torch.tensor([control.rest for control in self.controls], dtype=torch.float64)

    def index(self, name: str) -> int:
        """Where a control lies on the axis.

        Raises:
            ChainRigError: there is no such control; the message names the closest one.
        """
        if name not in self._index:
            by_lower = {known.lower(): known for known in self.names}
            close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)
            hint = f" Did you mean {by_lower[close[0]]}?" if close else ""
            raise ChainRigError(f"The rig has no control named {name}.{hint}")
        return self._index[name]

    def pack(self, values: Mapping[str, float], base: Tensor | None = None) -> Tensor:
        """Named values → (K,), the others from `base` (K,) or at rest (then float32).

        Raises:
            ChainRigError: an unknown name, or a value that is not a finite number.
        """
        x = self.rest.to(torch.float32).clone() if base is None else base.clone()
        for name, value in values.items():
            number = torch.as_tensor(value, dtype=x.dtype, device=x.device)
            if number.ndim or not torch.isfinite(number):
                raise ChainRigError(f"The value of control {name} is {value}: give one finite number.")
            x[self.index(name)] = number
        return x

    def unpack(self, x: Tensor) -> dict[str, float]:
        """(K,) → name: value, in the order of the axis."""
        return dict(zip(self.names, x.detach().cpu().double().tolist(), strict=True))

    @cached_property
    def mirror_pairs(self) -> tuple[tuple[int, int], ...]:
        """Indices (left, right) of the controls that trade places when the face is mirrored."""
        pairs = []
        for i, name in enumerate(self.names):
            partner = _right_partner(name)
            if partner in self._index:
                pairs.append((i, self._index[partner]))
        return tuple(pairs)

    def clamped(self, x: Tensor) -> Tensor:
        """(*B, K) → (*B, K): every control inside its range."""
        return torch.minimum(torch.maximum(x, self.low.to(x)), self.high.to(x))

    def symmetric(self, x: Tensor, from_side: str = "both") -> Tensor:
        """(*B, K) → (*B, K): the same on both sides of the face.

        Args:
            from_side: "Left" or "Right" (the subject's) is kept and mirrored; "both" are averaged.

        Raises:
            ChainRigError: it is another word.
        """
        if from_side not in ("Left", "Right", "both"):
            raise ChainRigError(f"A side is Left, Right or both, not '{from_side}'.")
        if from_side == "both":
            return (x + self.mirror(x)) / 2
        left, right = (torch.tensor([pair[k] for pair in self.mirror_pairs]).long() for k in (0, 1))
        kept, other = (left, right) if from_side == "Left" else (right, left)
        return x.index_copy(-1, other.to(x.device), x[..., kept])

    def mirror(self, x: Tensor) -> Tensor:
        """(*B, K) → (*B, K): the controls of the face seen in a mirror (x → −x in the rig's frame)."""
        order, sign = list(range(len(self))), [1.0] * len(self)
        for left, right in self.mirror_pairs:
            order[left], order[right] = right, left
        for i, name in enumerate(self.names):
            sideways = name.endswith("-trans-out") and not name.startswith(("l-", "r-"))
            if sideways or name in ("headRotationY", "headRotationZ", "headTranslationX"):
                sign[i] = -1.0
        return x[..., order] * torch.tensor(sign, dtype=x.dtype, device=x.device)


def _right_partner(name: str) -> str:
    """The name of the right-hand twin of a left-hand control ("" if it is none)."""
    if name.startswith("l-"):
        return "r-" + name[2:]
    return name[: -len("Left")] + "Right" if name.endswith("Left") else ""

"""A face rig as data: its mesh, shapes, skeleton and landmark embedding."""

from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from pipeline import assets
from pipeline.controls import ControlSpace
from pipeline.deform import rig_file
from pipeline.deform.rig_check import complaint
from pipeline.errors import ChainRigError

AGAIN = "Import it again with chainrig rig import, or rebuild the shipped one with scripts/build_rig.py."


def _none(*shape: int) -> Tensor:
    return field(default_factory=lambda: torch.zeros(*shape))


@dataclass(frozen=True)
class Rig:
    """All that is fixed about a head: y up, face toward +z, subject's left = +x, origin between the eyes.

    Lengths are metres. V vertices, T texture coordinates, F triangles, E expressions, N identity controls,
    J joints, C correctives that listen to at most A controls each, Q joints with pose correctives, L
    landmarks. E, N, J, C and Q may be 0. How it lies in a file: docs/rigs.md.

    Attributes:
        rest: (V, 3) the mean head: an androgynous average adult.
        triangles: (F, 3) vertex indices, counter-clockwise seen from outside.
        uv: (T, 2) in [0, 1], v up; no two charts overlap.
        uv_triangles: (F, 3) indices into uv.
        part_names: names of the mesh's parts (skin, eye_left, teeth_upper, …).
        part_of_triangle: (F,) index into part_names.
        expression_names: E ARKit names.
        expression_deltas: (E, V, 3) of control = 1, to be added before skinning.
        identity_names: N names.
        identity_deltas: (N, V, 3) of control = 1, free of whole-head motion.
        identity_low, identity_high: (N,) ranges.
        joint_names: J names.
        joint_parents: (J,) −1 for the root; parents come first.
        joint_rest: (J, 3) positions in the mean head.
        joint_identity_deltas: (N, J, 3) motion of the joints of control = 1.
        skin_weights: (V, J), rows sum to 1.
        drivers: (E, J, 3) rotation vector (rad) of each joint of control = 1.
        landmark_triangle: (L,) the triangle that each detector landmark lies on, or None.
        landmark_barycentric: (L, 3) where in that triangle.
        landmark_spread: (L,) metres, how far the detector's landmark strays from there.
        expression_low, expression_high: (E,) ranges; 0 and 1 where None.
        expression_units: of each range, "" or "rad"; all "" if empty.
        expression_sources: what the file that the rig came from calls them; the same if empty.
        joint_expression_deltas: (E, J, 3) motion of the joints of control = 1, or (0, 0, 3) for none.
        corrective_names: C shapes that several controls bring in together, or one halfway (correctives.py).
        corrective_deltas: (C, V, 3), to be added before skinning.
        corrective_controls: (C, A) index into expression_names of what each listens to, −1 for none.
        corrective_ramps: (C, A, 3) start, peak, end.
        pose_corrective_joints: (Q,) index into joint_names.
        pose_corrective_deltas: (9 Q, V, 3) for the entries of R_j − I, row by row.
        skinning: "linear" or "dual quaternion".
        albedo: (H, W, 3) uint8 sRGB, row 0 at v = 1, sides powers of two; None where nobody has painted it.
        paint: (M, H, W) uint8 shares of the regions of `pipeline.render.head_texture` in a texel, in 1/255,
        where
            ChainRig has painted the rig; None otherwise.
        source: the file that it was imported from, "" for the shipped head.
    """

    rest: Tensor
    triangles: Tensor
    uv: Tensor
    uv_triangles: Tensor
    part_names: tuple[str, ...]
    part_of_triangle: Tensor
    expression_names: tuple[str, ...]
    expression_deltas: Tensor
    identity_names: tuple[str, ...]
    identity_deltas: Tensor
    identity_low: Tensor
    identity_high: Tensor
    joint_names: tuple[str, ...]
    joint_parents: Tensor
    joint_rest: Tensor
    joint_identity_deltas: Tensor
    skin_weights: Tensor
    drivers: Tensor
    landmark_triangle: Tensor | None = None
    landmark_barycentric: Tensor | None = None
    landmark_spread: Tensor | None = None
    expression_low: Tensor | None = None
    expression_high: Tensor | None = None
    expression_units: tuple[str, ...] = ()
    expression_sources: tuple[str, ...] = ()
    joint_expression_deltas: Tensor = _none(0, 0, 3)
    corrective_names: tuple[str, ...] = ()
    corrective_deltas: Tensor = _none(0, 0, 3)
    corrective_controls: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.int64))
    corrective_ramps: Tensor = _none(0, 0, 3)
    pose_corrective_joints: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    pose_corrective_deltas: Tensor = _none(0, 0, 3)
    skinning: str = "linear"
    albedo: Tensor | None = None
    paint: Tensor | None = None
    source: str = ""

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Rig":
        """Reads a rig file (default: the shipped head) as float32 and int64 tensors on the CPU.

        Raises:
            ChainRigError: the file is missing, truncated, not a rig, or its arrays do not fit together.
        """
        file = Path(path) if path is not None else assets.path("head_rig.npz")
        values = rig_file.read(file)
        required = {each.name for each in fields(cls) if each.default is each.default_factory is MISSING}
        for name in required - values.keys():
            raise ChainRigError(f"The rig file {file} is of no use: it has no {name}. {AGAIN}")
        known = {each.name for each in fields(cls)}
        rig = cls(**{name: value for name, value in values.items() if name in known})
        return rig.validated(f"file {file}")

    def save(self, path: str | Path) -> None:
        """Writes the rig as one npz; equal rigs give equal bytes.

        Raises:
            ChainRigError: the file cannot be written.
        """
        rig_file.write(Path(path), {each.name: getattr(self, each.name) for each in fields(self)})

    def validated(self, what: str = "") -> "Rig":
        """The rig itself.

        Args:
            what: of the rig that a message speaks of, such as "file head.npz".

        Raises:
            ChainRigError: its arrays do not fit together, hold numbers that are not finite, point at what is
                not there, or weights do not sum to 1.
        """
        reason = complaint(self)
        if reason:
            raise ChainRigError(f"The rig {what} is of no use: {reason}. {AGAIN}".replace("  ", " "))
        return self

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Rig":
        """The same rig on another device, its floating-point arrays in another precision."""
        moved = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Tensor):
                moved[each.name] = value.to(device, dtype if value.is_floating_point() else value.dtype)
        return replace(self, **moved)

    def at_landmarks(self) -> "Rig":
        """The same rig with only the vertices that carry landmarks; triangle i is landmark i's.

        Raises:
            ChainRigError: the rig has no landmark embedding.
        """
        if self.landmark_triangle is None:
            raise ChainRigError(
                "The rig does not know where the detector's landmarks lie on it: run chainrig rig embed."
            )
        corners = self.triangles[self.landmark_triangle]
        kept, triangles = corners.unique(return_inverse=True)
        return replace(
            self,
            rest=self.rest[kept],
            triangles=triangles,
            uv_triangles=self.uv_triangles[self.landmark_triangle],
            part_of_triangle=self.part_of_triangle[self.landmark_triangle],
            expression_deltas=self.expression_deltas[:, kept],
            identity_deltas=self.identity_deltas[:, kept],
            skin_weights=self.skin_weights[kept],
            landmark_triangle=torch.arange(len(triangles)),
            corrective_deltas=_of_vertices(self.corrective_deltas, kept),
            pose_corrective_deltas=_of_vertices(self.pose_corrective_deltas, kept),
        )

    @cached_property
    def controls(self) -> ControlSpace:
        """The axis of X1 of this rig."""

        def listed(values: Tensor | None, otherwise: float) -> list[float]:
            return [otherwise] * len(self.expression_names) if values is None else values.tolist()

        return ControlSpace.of_rig(
            self.expression_names,
            self.identity_names,
            self.identity_low.tolist(),
            self.identity_high.tolist(),
            listed(self.expression_low, 0.0),
            listed(self.expression_high, 1.0),
            self.expression_units or [""] * len(self.expression_names),
        )


def _of_vertices(deltas: Tensor, kept: Tensor) -> Tensor:
    return deltas[:, kept] if len(deltas) else deltas

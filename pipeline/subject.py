"""What stays of a person from photo to photo: the head's shape, and what the rig's shape cannot say of it.

The rig's shape is fitted to photos of the person (`calibrate.py`), and never comes quite as close as the
person's own face. What is left between the landmarks is taken along: an offset of every landmark, in the
head's frame, the mean over the photos, so that later photos are compared with the person's own neutral face
and not with the rig's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import roma
import torch
from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import LandmarkEmbedding
from pipeline.errors import ChainRigError
from pipeline.layer import Pipeline

SCHEMA = "chainrig.subject/1"


@dataclass(frozen=True)
class Subject:
    """A person.

    Attributes:
        identity: shape controls by name.
        offsets: `(R, 3)` float64 metres in the head's frame, how far the person's landmarks lie from those of
            the rig with this shape, across the line of sight; R as of the rig's landmarks.
        photos: paths of those that tell of the person.
        residual_percent: what the rig's shape alone left of the landmarks' distance, % of the outer-eye
            distance.
    """

    identity: dict[str, float]
    offsets: Tensor
    photos: tuple[str, ...]
    residual_percent: float

    def shift(self, stand_in: Pipeline, x: Tensor) -> Tensor:
        """`(R, 2)` float64 pixels of the view by which the offsets move the landmarks at controls `(K,)`.

        Args:
            stand_in: embed ∘ deform of that view.
        """
        embed, points, turn = _posed(stand_in, x)
        return embed.camera.project(points + self.offsets @ turn.T) - embed.camera.project(points)


def offsets(stand_in: Pipeline, x: Tensor, apart_px: Tensor) -> Tensor:
    """Pixels of the view as offsets in the head's frame.

    Args:
        stand_in: embed ∘ deform of the view, float64.
        x: `(K,)` controls.
        apart_px: `(R, 2)` how far the person's landmarks lie from those of the render.

    Returns:
        `(R, 3)` metres, in the plane that faces the camera.
    """
    embed, points, turn = _posed(stand_in, x)
    in_photo = apart_px @ torch.linalg.inv(embed.camera.view[:, :2]).T
    across = in_photo * (-points[:, 2:] / embed.camera.focal_px)
    flip = across.new_tensor([1.0, -1.0])  # the photo's y looks down
    return torch.cat([across * flip, torch.zeros_like(across[:, :1])], dim=-1) @ turn


def _posed(stand_in: Pipeline, x: Tensor) -> tuple[LandmarkEmbedding, Tensor, Tensor]:
    """The embedding, its points `(R, 3)` in camera space, and the head's rotation `(3, 3)`."""
    deform, embed = list(stand_in)
    assert isinstance(deform, Deformer) and isinstance(embed, LandmarkEmbedding)
    pose = deform.controls.groups["pose"]
    return embed, embed.points(deform(x)), roma.rotvec_to_rotmat(x[pose][:3])


def subject_json(subject: Subject) -> str:
    """The document, schema chainrig.subject/1."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "photos": list(subject.photos),
        "residual_percent_iod": round(subject.residual_percent, 4),
        "identity": {name: float(f"{value:.6g}") for name, value in subject.identity.items()},
        "landmark_offsets_m": [[float(f"{v:.4g}") for v in row] for row in subject.offsets.tolist()],
    }
    return json.dumps(document, indent=1) + "\n"


def read_subject(path: str | Path, rig: Rig) -> Subject:
    """What `chainrig calibrate` or `chainrig fit --share-identity` wrote.

    Raises:
        ChainRigError: the file cannot be read, is no such document, or is of another rig.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as refused:
        raise ChainRigError(f"The subject {path} cannot be read: {refused.strerror}.") from None
    except ValueError as broken:
        raise ChainRigError(f"{path} is not JSON ({broken}): make it with chainrig calibrate.") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ChainRigError(f"{path} is no {SCHEMA} document: make it with chainrig calibrate.")
    try:
        identity = {str(name): float(value) for name, value in document["identity"].items()}
        moved = torch.tensor(document["landmark_offsets_m"], dtype=torch.float64)
        found = Subject(identity, moved, tuple(document["photos"]), float(document["residual_percent_iod"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChainRigError(
            f"{path} is not a whole {SCHEMA} document ({error!r}): calibrate again."
        ) from None
    if set(identity) != set(rig.identity_names) or moved.shape != (len(rig.landmark_triangle), 3):  # type: ignore[arg-type]
        raise ChainRigError(f"{path} is of another rig: calibrate with the one that is in use.")
    if not moved.isfinite().all():
        raise ChainRigError(f"{path} holds offsets that are not finite: calibrate again.")
    return found

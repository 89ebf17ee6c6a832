"""A rig before a camera, posed by its controls: what the page draws, and what each control does to it."""

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.chain import build_deformer
from pipeline.config import DeformerKind
from pipeline.controls import Control
from pipeline.controls_file import PhotoCamera
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.layer import Layer
from pipeline.render import srgb
from pipeline.render.camera import NEAR_M
from pipeline.render.head_texture import HeadTexture
from pipeline.render.lighting import Light
from pipeline.rigs.bust import opacity
from pipeline.rigs.texture import texture_of
from pipeline.view.wire import packed

TURN, SHIFT = 0.6, 0.25  # radians and metres that a slider of the pose reaches to each side
AWAY = {"headTranslationZ": -1.0}  # where nobody says otherwise
PLAIN = PhotoCamera(2600.0, (500.0, 500.0), 1000, 1000)  # with it, a head a metre away fills a square


@dataclass(frozen=True)
class PosedRig:
    """A rig, the controls at which it was opened, the camera that sees it and what it looks like.

    Attributes:
        x: `(K,)` float64.
    """

    rig: Rig
    x: Tensor
    lens: PhotoCamera
    texture: HeadTexture
    light: Light
    deformer: DeformerKind = "skinning"

    @cached_property
    def deform(self) -> Layer:
        """Layer 1."""
        return build_deformer(self.rig, self.deformer)

    @classmethod
    def at_rest(cls, rig: Rig) -> "PosedRig":
        """A rig file's, straight before the camera."""
        x = rig.controls.pack(AWAY, rig.controls.rest.clone())
        return cls(rig, x, PLAIN, texture_of(rig), Light.default())

    @torch.no_grad()
    def vertices(self, x: Tensor) -> Tensor:
        """`(V, 3)` float32 metres, in camera space, of controls `(K,)`.

        Raises:
            ChainRigError: part of the head is not before the camera.
        """
        found = self.deform(x.float())
        if float(found[:, 2].max()) > -NEAR_M:
            raise ChainRigError("The head reaches behind the camera: make headTranslationZ smaller.")
        return found

    @torch.no_grad()
    def column_mm(self, x: Tensor, name: str) -> Tensor:
        """`(V,)` |∂X2/∂control| in millimetres for a unit of it, at controls `(K,)`.

        Raises:
            ChainRigError: there is no such control.
        """
        unit = torch.zeros_like(x.float())
        unit[self.rig.controls.index(name)] = 1
        return torch.func.jvp(self.deform, (x.float(),), (unit,))[1].norm(dim=-1) * 1000

    def require(self, values: list[float]) -> Tensor:
        """Controls `(K,)` float64 that the page sent, inside their ranges.

        Raises:
            ChainRigError: they are not K finite numbers.
        """
        space = self.rig.controls
        x = torch.tensor(values, dtype=torch.float64)
        if x.shape != (len(space),) or not bool(x.isfinite().all()):
            raise ChainRigError(f"The rig has {len(space)} controls, each a finite number.")
        return space.clamped(x)

    def told(self) -> dict[str, object]:
        """What the page needs to draw it: mesh, texture, light, camera and controls."""
        corners = torch.stack([self.rig.triangles, self.rig.uv_triangles], dim=-1).view(-1, 2)
        pairs, triangles = corners.unique(dim=0, return_inverse=True)  # a vertex for each side of a seam
        return {
            "triangles": packed(triangles.view(-1, 3).int()),
            "vertex": packed(pairs[:, 0].int()),
            "uv": packed(self.rig.uv[pairs[:, 1]].float()),
            "vertices": packed(self.vertices(self.x)),
            "opacity": packed(opacity(self.rig)),
            "albedo": self._albedo(),
            "light": self._light(),
            "camera": [self.lens.focal_px, *self.lens.principal_point_px],
            "size": [self.lens.width, self.lens.height],
            "controls": [
                self._control(control, value)
                for control, value in zip(self.rig.controls.controls, self.x.tolist(), strict=True)
            ],
        }

    @staticmethod
    def _control(control: Control, value: float) -> dict[str, object]:
        low, high = control.low, control.high
        if control.group == "pose":  # π and ten metres are too far for a slider
            reach = TURN if control.unit == "rad" else SHIFT
            low, high = max(low, value - reach), min(high, value + reach)
        return {
            "name": control.name,
            "group": control.group,
            "low": low,
            "high": high,
            "unit": control.unit,
            "value": value,
        }

    @torch.no_grad()
    def _albedo(self) -> str:
        """A data URI; v points up, so its first row is v = 1 as in the texture."""
        encoded = srgb.encode(self.texture()[..., :3]).clamp(0, 1)
        file = BytesIO()
        levels: np.ndarray = (encoded * 255).round().to(torch.uint8).numpy()
        Image.fromarray(levels).save(file, "WEBP", quality=90, method=0)
        return "data:image/webp;base64," + packed(np.frombuffer(file.getvalue(), np.uint8))

    @torch.no_grad()
    def _light(self) -> dict[str, list[float]]:
        """Light from around as coefficients of nine polynomials of the normal, which it is; and the lamp."""
        normals = torch.nn.functional.normalize(
            torch.randn(64, 3, generator=torch.Generator().manual_seed(0)), dim=-1
        )
        x, y, z = normals.unbind(-1)
        terms = [torch.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]
        around = self.light.environment(normals, torch.zeros(len(normals), dtype=torch.int64))
        wanted = around.expand(len(normals), 3)
        found = torch.linalg.lstsq(torch.stack(terms, dim=-1).double(), wanted.double()).solution
        return {
            "around": found.flatten().tolist(),
            "directional": self.light.directional.tolist(),
            "towards": self.light.towards().tolist(),
        }

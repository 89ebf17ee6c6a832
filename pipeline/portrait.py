"""The rig in the photo's place: its renderer, the light and colours found, the picture of the overlay."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.appearance import Appearance, estimate, face_mask, photometric_error
from pipeline.chain import build_deformer, build_renderer
from pipeline.config import Config
from pipeline.deform.rig import Rig
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.errors import ChainRigError
from pipeline.layer import Layer
from pipeline.lockstep import SharedChain
from pipeline.render import srgb
from pipeline.render.camera import Camera
from pipeline.render.ids import choose, find
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.passes import cut_out
from pipeline.render.renderer import Renderer
from pipeline.result import BACKGROUND, PANEL, FoundAppearance, Picture, frame
from pipeline.rigs.bust import opacity
from pipeline.rigs.texture import texture_of
from pipeline.target.photo import Photo
from pipeline.target.target import Target


@dataclass(frozen=True)
class Look:
    """Light and colours as a renderer takes them.

    Attributes:
        found: what a photo told of them; None for the default.
        focal_spread: of the focal length that was found with them, see `FoundAppearance.distance_spread`.
    """

    material: Material
    light: Light
    found: Appearance | None = None
    focal_spread: float | None = None


class Studio:
    """A rig, its texture and the renderer's settings.

    Raises:
        ChainRigError: the rasterizer of the settings cannot be used here.
    """

    def __init__(self, rig: Rig, config: Config) -> None:
        settings = config.render
        device = config.fit.device
        if device == "cuda" and not torch.cuda.is_available():
            raise ChainRigError("There is no GPU that torch can use: leave fit.device at cpu.")
        if settings.rasterizer != "auto":
            find(settings.rasterizer, device)  # complains before a minute is spent
        self.device = torch.device(device)
        self._there: dict[Layer, Layer] = {}
        self.rig = rig
        self.deform = build_deformer(rig, config.fit.deformer)
        self.texture = texture_of(rig)
        self.opacity = opacity(rig)
        self.default = Look(Material(self.texture()), Light.default())
        self.settings = settings

    @property
    def painted(self) -> bool:
        """Whether the texture has regions whose colours can be found: not, where it is a picture."""
        return self.rig.paint is not None or not self.rig.source

    @property
    def rasterizer(self) -> str:
        """Who finds what pixels see."""
        if self.settings.renderer == "raytrace":
            return "mitsuba"
        named = self.settings.rasterizer
        return choose(self.device.type) if named == "auto" else named

    def renderer(self, camera: Camera, look: Look, **settings: Any) -> Renderer:
        """A renderer for the CPU."""
        settings = {"renderer": self.settings.renderer} | settings
        return build_renderer(self.rig, camera, look.material, look.light, **settings)

    def chain(self, camera: Camera, detector: LandmarkDetector, look: Look | None = None) -> SharedChain:
        """detect ∘ render ∘ deform, on the device of the settings."""
        look = look or self.default
        settings = self.settings
        renderer = self.renderer(camera, look, samples=settings.samples, rasterizer=settings.rasterizer)
        layers = self.deform, renderer, detector
        return SharedChain(layers if self.device.type == "cpu" else map(self.there, layers))

    def there(self, layer: Layer) -> Layer:
        """A layer's twin on the device; deformer and detector have one for all fits."""
        if isinstance(layer, Renderer):
            return copy.deepcopy(layer).to(self.device)
        if layer not in self._there:
            self._there[layer] = copy.deepcopy(layer).to(self.device)
        return self._there[layer]

    def find_look(self, photo: Photo, target: Target, camera: Camera, x: Tensor) -> Look:
        """Light and colours with which the rig at controls `(K,)` looks like the photo.

        Raises:
            ChainRigError: too little of the face is in the photo.
        """
        crop, mask = face_in_view(photo, target)
        renderer = self.renderer(camera, self.default, renderer="scanline")
        found = estimate(renderer, self.texture, self.deform(x.float()), crop, mask)
        return Look(found.material(self.texture), found.light, found)

    @torch.no_grad()
    def told(self, photo: Photo, target: Target, camera: Camera, x: Tensor, look: Look) -> FoundAppearance:
        """What a fit reports of light and colours."""
        assert look.found is not None
        vertices = self.deform(x.float())
        crop, mask = face_in_view(photo, target)
        errors = [
            photometric_error(self.renderer(camera, one)(vertices), crop, mask)
            for one in (self.default, look)
        ]
        light = look.light
        return FoundAppearance(
            ambient=light.ambient.tolist(),
            directional=light.directional.tolist(),
            direction=light.towards().tolist(),
            harmonics=light.harmonics.tolist(),
            colours={name: list(colour) for name, colour in look.found.colours.items()},
            error_start=errors[0],
            error_final=errors[1],
            distance_m=-float(x[self.rig.controls.index("headTranslationZ")]),
            distance_spread=look.focal_spread,
        )

    @torch.no_grad()
    def picture(self, photo: Photo, target: Target, camera: Camera, x: Tensor, look: Look) -> Picture:
        """The rig with controls `(K,)` as it stands in the part of the photo that an overlay shows."""
        left, top, right, bottom = frame(photo, target.landmarks[:, :2])
        zoom = PANEL / max(right - left, bottom - top)
        view = torch.tensor([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]])
        size = (round((bottom - top) * zoom), round((right - left) * zoom))
        closer = Camera(camera.focal_px, camera.principal_point_px, view, size)
        renderer = self.renderer(closer, look, samples=2)
        renderer.background = srgb.decode(torch.tensor(BACKGROUND) / 255)
        vertices = self.deform(x.float())
        rgba = cut_out(renderer, vertices, renderer(vertices), self.opacity).clamp(0, 1)
        photo_from_picture = torch.tensor([[1 / zoom, 0, left], [0, 1 / zoom, top]])
        return Picture((rgba * 255).round().to(torch.uint8), photo_from_picture)


def face_in_view(photo: Photo, target: Target) -> tuple[Tensor, Tensor]:
    """The detector's view of the photo `(256, 256, 3)` sRGB, and the pixels of it inside the face."""
    crop = target.region.crop(photo.pixels)
    return crop, face_mask(target.region.map_to_crop(target.mesh.landmarks), target.region.size)

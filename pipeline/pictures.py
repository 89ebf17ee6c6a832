"""Pictures of the rig: as the controls say, from all sides, control by control, step by step."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pipeline.chain import build_renderer
from pipeline.controls_file import PhotoCamera
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.outputs.image_files import gif, png
from pipeline.outputs.sheet import sheet
from pipeline.render import srgb
from pipeline.render.camera import NEAR_M, Camera
from pipeline.render.head_texture import SKIN_TONES, HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.passes import cut_out, passes
from pipeline.render.renderer import Renderer
from pipeline.rigs.texture import texture_of

DISTANCE_M = 1.0  # from the camera to the head, where no control says otherwise
MARGIN = 0.1  # beside the head, as a share of the picture's side
NOTICEABLE_M = 0.003  # what a control moves less, its picture need not show
MAX_PIXELS = 200_000_000  # of pictures that go into one file


class Studio:
    """The rig before a camera. Pictures that belong together share one view, in which all of them fit.

    Args:
        values: controls by name, the others at rest; a metre before the camera if they do not say.
        lens: the camera of a fit; a camera that looks straight at the head if omitted.
        size: pixels of the longer side.
        cell: the same for a picture on a sheet of controls.
        whole_photo: the view of the fit's photo instead of a square around the head.
        transparent: without a background.
        light: that of `Light.default` if omitted.
        colours: of regions of the texture, see `HeadTexture`; of painted rigs only.
        rig: a rig file; None for the shipped head.
        device: of the tensors.
        render: further arguments of `build_renderer`.

    Raises:
        ChainRigError: an unknown control, a value that is no number, or `whole_photo` without a lens.
    """

    def __init__(
        self,
        values: dict[str, float],
        lens: PhotoCamera | None = None,
        *,
        size: int = 512,
        cell: int = 192,
        whole_photo: bool = False,
        transparent: bool = False,
        light: Light | None = None,
        colours: Mapping[str, Sequence[float]] | None = None,
        rig: str | Path | None = None,
        device: str = "cpu",
        **render: Any,
    ) -> None:
        if whole_photo and lens is None:
            raise ChainRigError("Only a fit.json tells what the photo showed: give one, or frame the head.")
        self.rig = Rig.load(rig)
        self.controls = self.rig.controls
        self.x = self.controls.pack({"headTranslationZ": -DISTANCE_M} | values).to(device)
        self.deform = Deformer(self.rig).to(device)
        texture = texture_of(self.rig)
        if colours:
            texture = HeadTexture(texture.weights, texture.detail, colours)
        self.material = Material(texture())
        self.lens, self.whole_photo, self.transparent = lens, whole_photo, transparent
        self.size, self.cell, self.device = size, cell, device
        self.light, self.render = light, render
        of_head = torch.tensor(
            [_below(self.rig, joint, "head") for joint in range(len(self.rig.joint_names))]
        )
        self.head = (self.rig.skin_weights[:, of_head].sum(-1) > 0.5).to(device)
        if not self.head.any():  # a rig whose joints have other names, or none
            self.head[:] = True

    def beyond_range(self) -> list[str]:
        """A sentence for each control that is outside of its range."""
        return [
            f"{control.name} = {value:g} is drawn, but its range is {control.low:g} to {control.high:g}."
            for control, value in zip(self.controls.controls, self.x.tolist(), strict=True)
            if not control.low - 1e-6 <= value <= control.high + 1e-6
        ]

    def picture(self) -> Image.Image:
        return next(self._draw(self._pose(self.x)[None], self._renderer(self._calm_head(), self.size)))

    def turntable(self, count: int) -> Iterator[Image.Image]:
        """The head turned about the vertical through its middle, to its left first, in `count` steps."""
        _require_memory(count, self.size)
        head = self._calm_head()
        middle = (head.amin(0) + head.amax(0)) / 2
        angle = torch.arange(count, device=head.device) * (2 * math.pi / count)
        sine, cosine, zero = angle.sin(), angle.cos(), torch.zeros_like(angle)
        rows = [cosine, zero, sine, zero, zero + 1, zero, -sine, zero, cosine]
        turns = torch.stack(rows, dim=-1).view(-1, 3, 3).mT
        meshes = (self._pose(self.x) - middle) @ turns + middle
        framed = (head - middle) @ turns + middle
        return self._draw(meshes, self._renderer(framed.flatten(0, 1), self.size))

    def each_control(self, group: str) -> Iterator[tuple[str, Image.Image]]:
        """(title, picture): the head as it is, and with each control of a group at the end of its range."""
        indices = range(*self.controls.groups[group].indices(len(self.controls)))
        _require_memory(len(indices) + 1, self.cell)
        poses, titles = [self.x], ["as it is"]
        for i in indices:
            control, pose = self.controls.controls[i], self.x.clone()
            pose[i] = control.high
            poses.append(pose)
            titles.append(control.name if control.high == 1 else f"{control.name} {control.high:g}")
        meshes = torch.stack([self._pose(pose) for pose in poses])
        moved = self.head & ((meshes - meshes[0]).norm(dim=-1) > NOTICEABLE_M).any(0)
        renderer = self._renderer(meshes[:, moved].flatten(0, 1), self.cell)
        return zip(titles, self._draw(meshes, renderer), strict=True)

    def passes(self) -> list[tuple[str, str, Image.Image]]:
        """(name, title, picture) of the renderer's steps, see `render.passes`."""
        renderer = self._renderer(self._calm_head(), self.size)
        return [
            (each.name, each.title, _image(each.picture)) for each in passes(renderer, self._pose(self.x))
        ]

    def _pose(self, x: Tensor) -> Tensor:
        vertices = self.deform(x)
        if not float(vertices[:, 2].max()) <= -NEAR_M or not bool(vertices.isfinite().all()):
            raise ChainRigError(
                "The head reaches behind the camera, which looks along -z: "
                "set headTranslationZ to -1, a metre away."
            )
        return vertices

    def _calm_head(self) -> Tensor:
        """The head's vertices without its expression, so that pictures of expressions share one view."""
        calm = self.x.clone()
        calm[self.controls.groups["expression"]] = 0
        return self._pose(calm)[self.head]

    def _draw(self, meshes: Tensor, renderer: Renderer) -> Iterator[Image.Image]:
        for vertices in meshes:  # [V, 3]
            with torch.no_grad():
                rgb = renderer(vertices)
            yield _image(rgb if not self.transparent else cut_out(renderer, vertices, rgb))

    def _renderer(self, framed: Tensor, size: int) -> Renderer:
        """Sees the photo's view, or points `(N, 3)`."""
        camera = self._photo_view(size) if self.whole_photo else self._view_around(framed, size)
        return build_renderer(self.rig, camera, self.material, self.light, **self.render).to(self.device)

    def _camera(self, view: Tensor, size: tuple[int, int]) -> Camera:
        focal, middle = 1.0, (0.0, 0.0)
        if self.lens is not None:
            focal, middle = self.lens.focal_px, self.lens.principal_point_px
        return Camera(torch.tensor(focal), torch.tensor(middle), view, size)

    def _view_around(self, points: Tensor, size: int) -> Camera:
        """A square around points `(N, 3)`."""
        seen = self._camera(torch.eye(2, 3), (1, 1)).project(points.cpu())
        low, high = seen.amin(0), seen.amax(0)
        scale = size * (1 - 2 * MARGIN) / (high - low).max()
        shift = size / 2 - scale * (low + high) / 2
        return self._camera(torch.cat([scale * torch.eye(2), shift[:, None]], dim=-1), (size, size))

    def _photo_view(self, size: int) -> Camera:
        assert self.lens is not None
        scale = size / max(self.lens.width, self.lens.height)
        sides = (max(1, round(self.lens.height * scale)), max(1, round(self.lens.width * scale)))
        return self._camera(scale * torch.eye(2, 3), sides)


def _require_memory(count: int, size: int) -> None:
    if count * size**2 > MAX_PIXELS:
        raise ChainRigError(
            f"{count} pictures of {size} × {size} pixels are too many for a file: make them smaller."
        )


def draw(
    studio: Studio, name: str, turntable: int | None = None, steps: bool = False, group: str | None = None
) -> dict[str, bytes]:
    """The pictures that are asked for, as files by their names; nothing asked: the rig as it stands.

    Args:
        name: of the picture, or of the sheet of controls.
        turntable: how many pictures all around, see `Studio.turntable`.
        steps: the renderer's, see `Studio.passes`.
        group: whose controls a sheet shows, see `Studio.each_control`.
    """
    files: dict[str, bytes] = {}
    if turntable:
        frames = list(studio.turntable(turntable))
        files |= {f"turntable/{index:03}.png": png(frame) for index, frame in enumerate(frames)}
        files["turntable.gif"] = gif(frames)
    if steps:
        passes = studio.passes()
        files |= {f"passes/{step}.png": png(picture) for step, _, picture in passes}
        files["passes.png"] = png(sheet([(title, picture) for _, title, picture in passes]))
    if group:
        files[name] = png(sheet(list(studio.each_control(group))))
    return files or {name: png(studio.picture())}


def skin_colour(text: str) -> tuple[float, ...]:
    """Linear RGB of a tone's name, or of an sRGB colour such as "198,134,99".

    Raises:
        ChainRigError: it is neither.
    """
    if text in SKIN_TONES:
        return SKIN_TONES[text]
    parts = text.split(",")
    if len(parts) == 3 and all(part.strip().isdecimal() and int(part) <= 255 for part in parts):
        return tuple(srgb.decode(torch.tensor([int(part) / 255 for part in parts])).tolist())
    raise ChainRigError(f"A skin is {', '.join(SKIN_TONES)}, or R,G,B, each from 0 to 255, not '{text}'.")


def _image(picture: Tensor) -> Image.Image:
    """Of `(H, W, 3 or 4)` sRGB in [0, 1], or hardly beyond."""
    return Image.fromarray((picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


def _below(rig: Rig, joint: int, name: str) -> bool:
    """Whether a joint is the one of that name, or hangs on it."""
    while joint >= 0 and rig.joint_names[joint] != name:
        joint = int(rig.joint_parents[joint])
    return joint >= 0

"""Is the gradient of a rendered picture right? Against central differences of a supersampled one.

The loss sees every pixel with another weight: Σ w · (I − T)² over pixels and channels, where w is a smooth
random map and T the supersampled picture of the mesh some pixels away. Its derivative is taken along four
motions, each scaled so that a unit is about a pixel on the outline: x, y, scale and rotation (about an
oblique axis through the middle of the mesh). There are two kinds of targets,

    own     away by the very motion along which the derivative is taken: what descent along it would use, and
    mixed   away by all four at once: a harder test, for more of the derivative cancels between the outlines,

and several poses, so that no lucky position of the outlines within their pixels decides. The error of a
motion is the root mean square over poses (and targets), by that of the reference.

The reference needs no derivative and no edge term: pictures box-filtered from many samples a pixel, and
central differences of their losses. Two steps and two numbers of samples show how well it knows itself.
"""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import torch
from renderer_scenes import SIZE, Scene
from torch import Tensor
from torch.nn import functional

from pipeline.render.camera import clip_from_pixels
from pipeline.render.ids import triangle_ids

MOTIONS = ("x", "y", "scale", "rotation")
POSES = 8
AWAY = 4.0  # pixels of one motion from a pose to its `own` targets
MIXED = 4  # further targets of a pose, away by 3 to 6 pixels of all motions together
# (samples a pixel, step in pixels) of the reference's central differences.
REFERENCES = ((89, 0.5), (89, 1.0), (144, 0.5))

Render = Callable[[Tensor], Tensor]
Errors = dict[str, dict[str, float]]  # kind of target → motion or `mean` → a fraction


def loss(picture: Tensor, target: Tensor) -> Tensor:
    coarse = torch.rand(1, 1, 7, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights = 0.25 + 1.5 * functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=True)
    return (weights[0, 0, :, :, None] * (picture.cpu().double() - target).square()).sum()


def supersampled(scene: Scene, vertices: Tensor, samples: int) -> Tensor:
    """(SIZE, SIZE, 3), the mean of pictures at one sample a pixel, shifted by parts of a pixel.

    The shifts are a Fibonacci lattice: `samples` is a Fibonacci number, and no two samples of a pixel share
    their x or their y, so edges along the axes are integrated as well as others.
    """
    homogeneous = scene.camera.homogeneous(vertices)
    total = torch.zeros(SIZE, SIZE, 3, dtype=torch.float64)
    other = round(samples / 1.618033988749895)  # the Fibonacci number before
    for i in range(samples):
        shift = vertices.new_tensor([(i + 0.5) / samples - 0.5, (i * other % samples + 0.5) / samples - 0.5])
        points = torch.cat([homogeneous[:, :2] - shift * homogeneous[:, 2:], homogeneous[:, 2:]], -1)
        ids = triangle_ids(clip_from_pixels(points, (SIZE, SIZE)), scene.triangles, (SIZE, SIZE))
        _add_picture(
            *(x.numpy() for x in (ids, points, scene.triangles, scene.colors, scene.background, total))
        )
    return total / samples


@numba.njit(cache=True)
def _add_picture(
    ids: np.ndarray,
    points: np.ndarray,
    triangles: np.ndarray,
    colors: np.ndarray,
    background: np.ndarray,
    total: np.ndarray,
) -> None:
    """Adds to `total` the colours seen: plain perspective-correct interpolation."""
    for row in range(total.shape[0]):
        for column in range(total.shape[1]):
            if ids[row, column] < 0:
                for channel in range(total.shape[2]):
                    total[row, column, channel] += background[channel]
                continue
            i, j, k = triangles[ids[row, column]]
            a = _cross(points[j], points[k], column + 0.5, row + 0.5)
            b = _cross(points[k], points[i], column + 0.5, row + 0.5)
            c = _cross(points[i], points[j], column + 0.5, row + 0.5)
            for channel in range(total.shape[2]):
                color = a * colors[i, channel] + b * colors[j, channel] + c * colors[k, channel]
                total[row, column, channel] += color / (a + b + c)


@numba.njit(cache=True)
def _cross(p: np.ndarray, q: np.ndarray, x: float, y: float) -> float:
    """Twice the signed area between a pixel and two homogeneous points."""
    return (p[0] - x * p[2]) * (q[1] - y * q[2]) - (p[1] - y * p[2]) * (q[0] - x * q[2])


@dataclass(frozen=True)
class Reference:
    """What is known of P poses.

    Attributes:
        poses: P × `(V, 3)` float64.
        targets: P × `(4 + MIXED, H, W, 3)`: after each of the motions, and after mixed ones.
        gradients: `(R, P, 4 + MIXED, 4)`, for each of REFERENCES, of the loss towards each target along each
            motion.
    """

    poses: list[Tensor]
    targets: list[Tensor]
    gradients: Tensor

    @property
    def gradient(self) -> Tensor:
        """`(P, 4 + MIXED, 4)`."""
        return self.gradients.mean(0)

    def first(self, poses: int) -> "Reference":
        return Reference(self.poses[:poses], self.targets[:poses], self.gradients[:, :poses])

    def spread(self) -> Errors:
        """How far the two most different of the references are apart, as `relative` to their mean."""
        apart = [self.gradients[i] - self.gradients[j] for i in range(len(REFERENCES)) for j in range(i)]
        each = [relative(difference, self.gradient) for difference in apart]
        return {
            kind: {name: max(one[kind][name] for one in each) for name in names}
            for kind, names in each[0].items()
        }


def reference(scene: Scene) -> Reference:
    """Computed once (two minutes), then kept in the temporary folder."""
    poses = scene.poses(POSES)
    parts = (*poses, scene.triangles, scene.colors, scene.background, scene.camera.focal_px)
    settings = repr((SIZE, AWAY, MIXED, REFERENCES)).encode()
    key = hashlib.sha256(settings + b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:12]
    file = Path(tempfile.gettempdir()) / f"chainrig-gradients-{scene.name}-{key}.pt"
    if not file.exists():
        found = [_reference_at(scene, pose, seed) for seed, pose in enumerate(poses)]
        targets, gradients = [one for one, _ in found], torch.stack([one for _, one in found], 1)
        torch.save({"targets": targets, "gradients": gradients}, file)
    return Reference(poses, **torch.load(file))


def _reference_at(scene: Scene, pose: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Targets `(4 + MIXED, H, W, 3)` and gradients `(R, 4 + MIXED, 4)` at a pose."""
    motions = torch.eye(len(MOTIONS), dtype=torch.float64)
    draw = 2 * torch.rand(MIXED, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1
    away = torch.cat([AWAY * motions, 3 * draw.sign() + 3 * draw])
    targets = torch.stack([supersampled(scene, scene.moved(pose, one), REFERENCES[0][0]) for one in away])

    def losses(motion: Tensor, samples: int) -> Tensor:
        picture = supersampled(scene, scene.moved(pose, motion), samples)
        return torch.stack([loss(picture, target) for target in targets])

    gradients = [
        torch.stack([(losses(step * one, n) - losses(-step * one, n)) / (2 * step) for one in motions], -1)
        for n, step in REFERENCES
    ]
    return targets, torch.stack(gradients)


def gradients(render: Render, scene: Scene, known: Reference) -> Tensor:
    """`(P, 4 + MIXED, 4)`: `render` takes float64 `(V, 3)` to a differentiable `(SIZE, SIZE, 3)` picture."""
    found = []
    for pose, targets in zip(known.poses, known.targets, strict=True):
        for target in targets:
            motion = torch.zeros(len(MOTIONS), dtype=torch.float64, requires_grad=True)
            picture = render(scene.moved(pose, motion))  # anew: not every renderer can go back twice
            found += torch.autograd.grad(loss(picture, target), motion)
    return torch.stack(found).view(len(known.poses), -1, len(MOTIONS))


def relative(difference: Tensor, expected: Tensor) -> Errors:
    """Root mean squares of `difference` by those of `expected` `(P, 4 + MIXED, 4)`, and their `mean`."""
    return _by_kind(lambda one: one.square().mean(0).sqrt(), difference, expected)


def errors(render: Render, scene: Scene, poses: int = POSES) -> Errors:
    """Relative error of a renderer's gradient, at the first `poses`."""
    known = reference(scene).first(poses)
    return relative(gradients(render, scene, known) - known.gradient, known.gradient)


def bias(render: Render, scene: Scene) -> Errors:
    """What is left of the errors on average: the slope of found against expected, less 1."""
    known = reference(scene)
    found, expected = gradients(render, scene, known), known.gradient
    return _by_kind(lambda one: one.mean(0), (found - expected) * expected, expected.square())


def _by_kind(norm: Callable[[Tensor], Tensor], above: Tensor, below: Tensor) -> Errors:
    """Norms over the first axis of `above` by those of `below`, for each kind of targets and motion."""

    def named(above: Tensor, below: Tensor) -> dict[str, float]:
        each = (norm(above) / norm(below)).tolist()
        return {**dict(zip(MOTIONS, each, strict=True)), "mean": sum(each) / len(each)}

    def own(x: Tensor) -> Tensor:
        return x[:, : len(MOTIONS)].diagonal(dim1=1, dim2=2)  # [P, 4]

    def mixed(x: Tensor) -> Tensor:
        return x[:, len(MOTIONS) :].flatten(0, 1)  # [P·MIXED, 4]

    return {"own": named(own(above), own(below)), "mixed": named(mixed(above), mixed(below))}

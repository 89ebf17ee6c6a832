"""A chain at one face: every layer with the input and the directions that it has there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pipeline.chain import build_chain, build_stand_in
from pipeline.checks.questions import in_float64
from pipeline.checks.subject import (
    Subject,
    control_columns,
    control_directions,
    entry_directions,
    natural_steps,
)
from pipeline.controls import ControlSpace
from pipeline.deform.rig import Rig
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.trust import random_direction
from pipeline.detect.facemesh import FaceMesh
from pipeline.layer import Layer, Pipeline
from pipeline.objective import LandmarkObjective
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material

LIVELY = {
    "headTranslationY": 0.035, "headTranslationZ": -1.2, "headRotationX": 0.05, "headRotationY": 0.1,
    "jawOpen": 0.3, "mouthSmileLeft": 0.4, "mouthSmileRight": 0.2, "browInnerUp": 0.3,
}  # fmt: skip
FOCAL_PX = 1230.0  # a face 1.2 m away fills the detector's 256 × 256 view
SECANT = 0.05  # of a natural step: how far directions are carried through the layers
GRAIN = 1e-3  # on the detector's picture: in a flat background all inputs of a max-pool tie, which is a kink


class Scene:
    """deform → render → detect and what stands beside them, in float64.

    Args:
        chain: deform → render → detect in any precision; it is copied.
        x: `(K,)` the controls.
        embed: controls → landmarks, the stand-in of the chain.
        names: the controls to be examined; all if omitted.
        at_once: one direction instead of one for each group of controls: a third of the time.
    """

    def __init__(
        self,
        chain: Pipeline,
        x: Tensor,
        embed: Pipeline | None = None,
        names: Sequence[str] | None = None,
        at_once: bool = False,
    ) -> None:
        self.layers: list[Layer] = [in_float64(layer) for layer in chain]
        self.x = x.double()
        self.smoothing = float(getattr(list(chain)[-1], "smoothing", 0.0))
        self.embed = None if embed is None else in_float64(embed)
        self.space: ControlSpace = self.layers[0].controls  # type: ignore[assignment]
        self.columns = control_columns(self.space, names)
        self.directions = control_directions(self.space, names)
        if at_once:
            self.directions = {"all at once": torch.stack(list(self.directions.values())).sum(0)}
        self.chain = Pipeline(self.layers)
        self.chain.name = "chain"
        if self.embed is not None:
            self.embed.name = "embed"  # type: ignore[union-attr]

    @cached_property
    def stations(self) -> list[Tensor]:
        with torch.no_grad():
            return self.chain.stations(self.x)

    @cached_property
    def carried(self) -> list[dict[str, Tensor]]:
        """The directions at every station: secants, which no derivative has to be trusted for."""
        carried: list[dict[str, Tensor]] = [self.directions, *({} for _ in self.layers)]
        for name, d in self.directions.items():
            with torch.no_grad():
                ahead = self.chain.stations(self.x + SECANT * d)
            for j in range(1, len(ahead)):
                carried[j][name] = (ahead[j] - self.stations[j]) / SECANT
        return carried

    def subject(self, name: str) -> Subject:
        """A layer of the chain by its name, or "chain", "embed", "objective"."""
        if name == "chain":
            return Subject(self.chain, self.x, self.directions, self.columns, self.smoothing)
        if name == "embed":
            assert self.embed is not None
            return Subject(self.embed, self.x, self.directions, self.columns)
        if name == "objective":
            last = self.stations[-1]
            return Subject(landmark_objective(self.chain, last), last, self.carried[-1])
        j = [layer.name for layer in self.layers].index(name)
        subject = Subject(self.layers[j], self.stations[j], self.carried[j], self.columns if j == 0 else {})
        if subject.looks:
            grain = GRAIN * random_direction(subject.x, 11)
            return replace(subject, x=subject.x + grain, smoothing=self.smoothing)
        return subject

    def subject_like(self, layer: Layer) -> Subject | None:
        """A layer that could stand somewhere in this chain, at what flows there; None if it could not."""
        stations = [*(one.input_axes for one in self.layers), self.layers[-1].output_axes]
        if layer.input_axes not in stations:
            return None
        j = stations.index(layer.input_axes)
        controls = getattr(layer, "controls", None)
        if j == 0 and (controls is None or controls.names != self.space.names):
            return None
        x = self.stations[j]
        subject = Subject(layer, x, self.carried[j], self.columns if j == 0 else {})
        if subject.looks:
            return replace(subject, x=x + GRAIN * random_direction(x, 11))
        if j == 0 or subject.draws:
            return subject
        return replace(subject, directions={**entry_directions(layer, x), **self.carried[j]})


def default_scene(rig: Rig, render: Mapping[str, Any] | None = None) -> Scene:
    """The chain of a fit, at a face that smiles with its mouth open.

    Args:
        render: arguments of `pipeline.chain.build_renderer`.
    """
    camera = Camera(torch.tensor(FOCAL_PX), torch.full((2,), 128.0))
    detector = FaceMesh.load(smoothing=0.1)
    chain = build_chain(rig, camera, detector, Material(HeadTexture.load()()), **(render or {}))
    space = rig.controls
    lively = space.pack({name: value for name, value in LIVELY.items() if name in space.names}).double()
    # No control at 0 exactly: near 0 even float32 tells the smallest steps apart.
    x = lively + 0.01 * natural_steps(space) * random_direction(space.rest, 13).abs()
    embed = build_stand_in(rig, camera) if rig.landmark_triangle is not None else None
    return Scene(chain, x, embed)


def landmark_objective(chain: Pipeline, landmarks: Tensor) -> Layer:
    """f̂: landmarks → ½‖r‖², towards landmarks some pixels away."""
    target = landmarks + 2 * random_direction(landmarks, 3)
    objective = LandmarkObjective.towards(target, chain, chain, sigma_percent=0.2)

    def value(landmarks: Tensor) -> Tensor:
        faces = landmarks.reshape(-1, *landmarks.shape[-2:])
        residuals = torch.stack([objective.of_embedded(face) for face in faces])
        return 0.5 * residuals.square().sum(-1).reshape(landmarks.shape[:-2])

    return FunctionLayer(value, chain.output_axes, (), name="objective")

"""What an inspection of the shipped rig might find: true motion of mesh and landmarks, simple pixels."""

import math
from dataclasses import replace

import torch

from pipeline.chain import build_stand_in
from pipeline.controls import Control
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.inspection.findings import (
    Attribution,
    Badge,
    Columns,
    DeadControl,
    Findings,
    GradientStation,
    Observability,
    Recipe,
    TradeOff,
    View,
)
from pipeline.render.camera import Camera

SIZE = 96
NAMES = ("jawOpen", "mouthSmileLeft", "browInnerUp", "tongueOut", "headTranslationX", "headRotationY")
DARKER = 0.4  # luminance per unit of the first control, in the upper half of the view; brighter in the lower


def inspected_face(photo: bool = True, names: dict[str, str] | None = None) -> Findings:
    """Six controls of a head that fills a view of 96 × 96 pixels.

    Args:
        photo: whether there is one; without it there is no residual either.
        names: other names for some of the controls.
    """
    rig = Rig.load()
    space = rig.controls
    shift = torch.tensor([[SIZE * 3.2, 0, SIZE / 2], [0, SIZE * 3.2, SIZE / 2]])
    camera = Camera(torch.tensor(1.0), torch.zeros(2), shift, (SIZE, SIZE))
    x = space.pack({"headTranslationZ": -1.0, "jawOpen": 0.2})
    layers = Deformer(rig), build_stand_in(rig, camera)
    vertices, landmarks = (layer(x[None])[0] for layer in layers)
    units = torch.eye(len(space))[[space.index(name) for name in NAMES]]
    moved, shifted = (
        torch.stack([torch.func.jvp(layer, (x[None],), (unit[None],))[1][0] for unit in units])
        for layer in layers
    )
    count, half = len(NAMES), SIZE // 2
    pixels = torch.zeros(count, SIZE, SIZE, 3)
    pixels[0, :half], pixels[0, half:] = -DARKER, DARKER
    controls = tuple(
        replace(space.controls[space.index(name)], name=(names or {}).get(name, name)) for name in NAMES
    )
    picture = torch.linspace(0.2, 0.8, SIZE)[:, None, None].expand(SIZE, SIZE, 3)
    view = View(vertices, rig.triangles, camera, picture, landmarks)
    findings = Findings(
        title="face.png",
        at="the fitted controls",
        view=view,
        columns=Columns(controls, x.double() @ units.double().T, moved, pixels, shifted),
        steps={control.name: step(control) for control in controls},
        observability=observability(tuple(control.name for control in controls)),
        badges=(
            Badge("deform", "adjoint identity", 2e-16, 1e-9),
            Badge("detect", "AD against finite difference", 3e-4, 1e-5, "best step 1e-07"),
        ),
        gradient=(),
        dead=(),
        attribution=None,
        cost="The Jacobian took as long as 40 evaluations of the chain.",
    )
    return with_photo(findings) if photo else findings


def with_photo(findings: Findings) -> Findings:
    view, names = findings.view, findings.columns.names
    target = view.landmarks + torch.tensor([1.0, 0.5, 0.0])
    terms = torch.einsum("klc,c->lk", findings.columns.landmarks, torch.tensor([1.0, 0.5, 0.0]))
    regions = tuple("mouth" if i % 3 else "left brow" for i in range(len(terms)))
    return replace(
        findings,
        view=replace(view, photo=view.picture.flip(0), target=target, residual_percent=0.6512),
        gradient=(
            GradientStation("landmarks", "", 0.5, "a pixel", 0.8, {"mouth": 0.7, "left brow": 0.3}),
            GradientStation(
                "pixels", "detect", 2.5, "a unit of colour", 0.01, {"head": 1.0}, torch.rand(SIZE, SIZE)
            ),
            GradientStation("vertices", "render", 300.0, "a metre", 0.02, {}, view.vertices[:, 1].abs()),
            GradientStation("controls", "deform", 70.0, "the control's range", 1.0),
        ),
        dead=(DeadControl(names[3], "render", "what it moves is hidden"),),
        attribution=Attribution(names, regions, terms),
    )


def observability(names: tuple[str, ...]) -> Observability:
    return Observability(
        names=names,
        sd=torch.tensor([0.05, 0.1, 0.19, math.inf, 0.001, 0.02]).double(),
        prior_sd=torch.tensor([0.2, 0.2, 0.2, 0.2, math.inf, math.inf]).double(),
        full_range_px=torch.tensor([11.0, 5.0, 2.2, 0.0, 60.0, 40.0]).double(),
        singular_values=torch.tensor([300.0, 20, 4, 0.7, 0.01, 0]).double(),
        weakest=(Recipe({names[2]: 0.6, names[1]: -0.25}, 0.18, 1.4, 0.02),),
        trade_offs=(TradeOff(names[0], names[2], -0.93, 0.95),),
        unobservable=(names[3],),
        least_determined=((names[3], f"{names[3]} cannot be seen here"), (names[2], "the hair hides it.")),
        sentences=("Of 6 controls, the photo narrows 3 down.",),
    )


def step(control: Control) -> float:
    return 0.01 if control.unit == "m" else 0.1

"""The files of an inspection: the report, a card for every control, animations, and the arrays."""

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import torch
from torch import Tensor

from pipeline.derivatives.jacobian import Jacobian
from pipeline.inspection.animation import animate
from pipeline.inspection.cards import CardPainter, card_name
from pipeline.inspection.columns import arrays, stations
from pipeline.inspection.face_regions import landmarks_of
from pipeline.inspection.findings import Findings
from pipeline.inspection.layers import pictures
from pipeline.inspection.report import write_report
from pipeline.inspection.scene import Scene
from pipeline.outputs.image_files import png
from pipeline.outputs.sheet import sheet


def inspection_files(
    findings: Findings,
    scene: Scene,
    rows: Sequence[str] = (),
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, bytes]:
    """By name: report.html, jacobian.npz, cards/CONTROL.png and weakest-1.gif, …

    Args:
        rows: landmarks of jacobian.npz by number, pattern or region of the face; all if empty.
        on_progress: called with (what is done, steps done, steps in all).

    Raises:
        ChainRigError: there is no such landmark.
    """
    jacobians = stations(findings.columns)
    if rows:
        chosen = landmarks_of(rows, scene.rig, scene.detector.scheme)
        jacobians["landmarks"] = jacobians["landmarks"].select({"landmark": chosen})
    painter, names = CardPainter(findings), findings.columns.names
    cards = {}
    for k, name in enumerate(names):
        cards[name] = painter.draw(k)
        if on_progress is not None:
            on_progress("Cards", k + 1, len(names))
    values = scene.rig.controls.unpack(scene.x)
    animations = {
        i: animate(recipe, values, lambda moved: drawn(scene, moved))
        for i, recipe in enumerate(findings.observability.weakest)
    }
    return {
        "report.html": write_report(findings, animations, cards).encode(),
        "jacobian.npz": npz(arrays(jacobians)),
        **{f"weakest-{i + 1}.gif": animation for i, animation in animations.items()},
        **{f"cards/{card_name(name)}.png": card for name, card in cards.items()},
    }


def layer_files(found: Jacobian, layer: str, scene: Scene) -> dict[str, bytes]:
    """By name: jacobian-LAYER.npz with its Jacobian, and a picture of it where it is one of pixels."""
    files = {f"jacobian-{layer}.npz": npz(arrays({layer: found}))}
    shown = pictures(found, layer, scene.view().picture)
    return files | ({f"{layer}.png": png(sheet(shown))} if shown else {})


@torch.no_grad()
def drawn(scene: Scene, values: dict[str, float]) -> Tensor:
    """The rig `(H, W, 3)` uint8 with these controls, in the detector's view."""
    x = scene.rig.controls.pack(values, scene.x).float()
    picture = list(scene.chain)[1](list(scene.chain)[0](x))
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


def npz(contents: dict[str, np.ndarray]) -> bytes:
    """Arrays by name, as a file."""
    file = BytesIO()
    np.savez_compressed(file, **contents)  # type: ignore[arg-type]  # numpy takes names for options
    return file.getvalue()

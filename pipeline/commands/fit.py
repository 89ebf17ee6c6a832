"""`chainrig fit`: a photo → controls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.arguments import ConfigFile, Quiet, Settings, SubjectFile, as_yaml
from pipeline.commands.progress import bar
from pipeline.commands.screen import screen
from pipeline.environment import use_machine
from pipeline.errors import ChainRigError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.fit import FaceFitter
    from pipeline.result import FitResult
    from pipeline.target.faces import Face
    from pipeline.target.labels.labels import Labels
    from pipeline.target.photo import Photo

STRONGEST = 8  # controls in the printed table
NAMED = 4  # of the expressions that the photo cannot show


def fit(
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO", help="The photograph; several with --share-identity.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="out/<name of the photo>")
    ] = None,
    face: Annotated[
        str, typer.Option(help="Which face: largest, all, or a number from 0, left to right.")
    ] = "largest",
    iterations: Annotated[
        int | None, typer.Option(help="Steps with the full chain, at most.", show_default="16")
    ] = None,
    derivatives: Annotated[
        str | None, typer.Option(help="hybrid, chain or embedding.", show_default="chain")
    ] = None,
    appearance: Annotated[
        bool | None,
        typer.Option(
            "--appearance/--no-appearance",
            help="Render in the light and the colours of the photo.",
            show_default="yes",
        ),
    ] = None,
    estimate_focal: Annotated[
        bool,
        typer.Option("--estimate-focal", help="Look for the focal length where the EXIF does not tell it."),
    ] = False,
    detector: Annotated[
        str | None,
        typer.Option(
            help="facemesh, fan, fan-3d, or a file that train-detector wrote.", show_default="facemesh"
        ),
    ] = None,
    deformer: Annotated[
        str | None,
        typer.Option(help="blendshape, skinning, or quasistatic: flesh, slow.", show_default="skinning"),
    ] = None,
    rig: Annotated[
        Path | None, typer.Option(help="A rig file that chainrig rig made.", show_default="the shipped head")
    ] = None,
    subject: SubjectFile = None,
    share_identity: Annotated[
        bool,
        typer.Option("--share-identity", help="PHOTOs of one person, with any expression: one head for all."),
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Landmarks placed by hand: .pts, JSON (COCO's too), .ljson or CSV.", show_default=False
        ),
    ] = None,
    labels_scheme: Annotated[
        str | None,
        typer.Option(
            help="ibug68, wflw98, mediapipe478, or a scheme file, if the labels do not say.",
            show_default=False,
        ),
    ] = None,
    labels_origin: Annotated[
        str | None,
        typer.Option(
            help="Where the labels' (0, 0) is, if not where their format has it: corner, centre or one.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fit also where the detector doubts that there is a face.")
    ] = False,
    renderer: Annotated[
        str | None, typer.Option(help="scanline or raytrace.", show_default="scanline")
    ] = None,
    rasterizer: Annotated[
        str | None,
        typer.Option(help="auto, cpu, triton, pytorch3d or nvdiffrast.", show_default="auto"),
    ] = None,
    config: ConfigFile = None,
    set_: Settings = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Write the solver's steps: trace.csv, trace.json, trace.svg.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Fit the rig to a face in PHOTO: writes overlay.png, controls.csv, face.glb, fit.json and config.yaml.

    With --share-identity: these for each PHOTO, in folders named for the photos, and subject.json.
    """
    from pipeline.config import load_config

    photo = photos[0]
    overrides = list(set_ or [])
    chosen = {
        "fit.iterations": iterations,
        "fit.derivatives": derivatives,
        "landmarks.detector": detector,
        "landmarks.force": force or None,
        "fit.deformer": deformer,
        "fit.rig": rig,
        "fit.subject": subject,
        "appearance.fit": appearance,
        "camera.estimate": estimate_focal or None,
        "render.renderer": renderer,
        "render.rasterizer": rasterizer,
    }
    overrides += [f"{name}={as_yaml(value)}" for name, value in chosen.items() if value is not None]
    settings = load_config(config, overrides)
    folder = out if out is not None else Path("out") / photo.stem
    _require_face_choice(face)
    if labels is None and (labels_scheme or labels_origin):
        raise ChainRigError("--labels-scheme and --labels-origin go with --labels FILE: give the file, too.")
    if labels is not None and face == "all":
        raise ChainRigError("--labels belong to one face: leave --face all out.")
    if share_identity:
        if face != "largest" or labels is not None or subject is not None:
            raise ChainRigError("--share-identity takes no --face, --labels or --subject: leave them out.")
        _fit_together(photos, settings, folder, trace, quiet)
        return
    if len(photos) > 1:
        raise ChainRigError(
            f"{len(photos)} photos are given, and one is fitted at a time: give --share-identity if they are "
            "of one person, or use chainrig batch."
        )

    from pipeline.outputs.folder import require_writable, write_failure
    from pipeline.target.photo import read_photo

    require_writable(folder)
    picture = read_photo(photo)
    placed = None
    if labels is not None:
        from pipeline.target.labels.read import read_labels

        placed = read_labels(labels, labels_scheme, labels_origin, photo.name)
        placed.require_image(picture.width, picture.height)

    from pipeline.fit import FaceFitter
    from pipeline.result import FitFailure
    from pipeline.target.faces import find_faces

    use_machine(settings.fit.threads)
    faces = find_faces(picture.pixels)
    if not faces:
        faces = [_doubtful(picture, settings.landmarks.force)]
    fitter = FaceFitter(settings)
    if face != "all":
        index = _choose(face, faces) if placed is None or face != "largest" else _labelled(placed, faces)
        result = _fit_with_progress(fitter, picture, faces[index], index, quiet, placed)
        paths = _write(fitter, result, index, folder, trace)
        if not quiet:
            _report(result, index, paths)
        return

    fitted = 0
    for index, one in enumerate(faces):
        try:
            result = _fit_with_progress(fitter, picture, one, index, quiet)
        except ChainRigError as error:
            write_failure(FitFailure(picture, one, str(error)), index, folder / f"face-{index}")
            print(f"chainrig: face {index}: {error}", file=sys.stderr)
        else:
            paths = _write(fitter, result, index, folder / f"face-{index}", trace)
            fitted += 1
            if not quiet:
                _report(result, index, paths)
    if not fitted:
        raise ChainRigError(f"None of the {len(faces)} faces in {photo} could be fitted.")


def _fit_together(photos: list[Path], settings: Config, folder: Path, trace: bool, quiet: bool) -> None:
    """One head from all photos, then a fit of each with it, in folders named for the photos."""
    names = [photo.stem for photo in photos]
    if len(set(names)) < max(2, len(names)):
        raise ChainRigError("--share-identity takes two photos or more of one person, of different names.")

    from pipeline.outputs.folder import require_writable, write_files
    from pipeline.target.photo import read_photo

    require_writable(folder)
    pictures = [read_photo(photo) for photo in photos]

    from pipeline.calibrate import calibrate, largest_face
    from pipeline.fit import FaceFitter
    from pipeline.subject import subject_json

    use_machine(settings.fit.threads)
    chosen = [largest_face(picture) for picture in pictures]
    seen = [(picture, face) for picture, (_, face) in zip(pictures, chosen, strict=True)]
    with bar(f"One head for {len(photos)} photos", quiet) as show:
        found = calibrate(seen, settings, at_rest=False, on_progress=show)
    (file,) = write_files(folder, {"subject.json": subject_json(found).encode()})
    settings = settings.model_copy(update={"fit": settings.fit.model_copy(update={"subject": str(file)})})
    fitter = FaceFitter(settings)
    for name, picture, (index, face) in zip(names, pictures, chosen, strict=True):
        result = _fit_with_progress(fitter, picture, face, index, quiet)
        paths = _write(fitter, result, index, folder / name, trace)
        if not quiet:
            screen.print(f"{name}:", highlight=False, markup=False)
            _report(result, index, paths)
    if not quiet:
        print(file)


def _doubtful(photo: Photo, force: bool) -> Face:
    """What might be a face, where nothing is one for sure."""
    from pipeline.target.faces import find_doubtful_face

    found = find_doubtful_face(photo.pixels)
    if found is None:
        raise ChainRigError(
            f"There is no face in {photo.path}: take one that shows a whole face from the front."
        )
    face, presence = found
    if not force:
        x, y = ((face.box[:2] + face.box[2:]) / 2).tolist()
        raise ChainRigError(
            f"There is no face in {photo.path} that the detector is sure of; around ({x:.0f}, {y:.0f}) it "
            f"sees one with presence {presence:.2f}: take a sharper or larger one, or insist with --force."
        )
    return face


def _require_face_choice(choice: str) -> None:
    if choice not in ("largest", "all") and not choice.isdecimal():
        raise ChainRigError(f"--face takes largest, all, or a number from 0, not '{choice}'.")


def _choose(choice: str, faces: list[Face]) -> int:
    if choice == "largest":
        return max(range(len(faces)), key=lambda index: faces[index].area)
    if int(choice) >= len(faces):
        raise ChainRigError(
            f"There is no face {choice}: the photo shows {len(faces)}, counted from 0, left to right."
        )
    return int(choice)


def _labelled(labels: Labels, faces: list[Face]) -> int:
    import torch

    return labels.face_among(torch.stack([face.box for face in faces]))


def _fit_with_progress(
    fitter: FaceFitter, photo: Photo, face: Face, index: int, quiet: bool, labels: Labels | None = None
) -> FitResult:
    with bar(f"Fitting face {index}", quiet) as show:
        return fitter.fit(photo, face, show, labels)


def _write(fitter: FaceFitter, result: FitResult, index: int, folder: Path, trace: bool) -> list[Path]:
    """The files of a fit, with the face for other tools."""
    from pipeline.outputs.face_glb import face_glb
    from pipeline.outputs.folder import write_fit

    glb = face_glb(result, fitter.rig, fitter.studio.deform)
    return write_fit(result, index, fitter.config, folder, trace, glb)


def _report(result: FitResult, index: int, paths: list[Path]) -> None:
    from rich.table import Table

    table = Table(title=f"Face {index}: the strongest controls", title_justify="left")
    table.add_column("control")
    table.add_column("value", justify="right")
    table.add_column("±", justify="right")
    table.add_column("")
    strongest = sorted(result.controls.items(), key=lambda item: -abs(item[1]))[:STRONGEST]
    for name, value in strongest:
        bar = "█" * round(20 * min(1.0, abs(value)))
        seen = bar if name not in result.unobservable else "not seen"
        sd = f"{result.uncertainty[name]:.2f}" if name in result.uncertainty else ""
        table.add_row(name, f"{value:.2f}", sd, seen)
    screen.print(table)
    if result.labels is not None:
        screen.print(f"Labels: {result.labels.report}", highlight=False)
    if result.presence < 0.5:
        screen.print(
            f"The detector doubts that there is a face (presence {result.presence:.2f}).", highlight=False
        )
    if result.unobservable:
        what = "This photo" if result.labels is None else "These labels"
        screen.print(f"{what} cannot show {_unseen(result)}.", highlight=False)
    screen.print(
        f"Distance of the landmarks: {result.residual_start:.2f} → {result.residual_final:.2f} % of the "
        f"outer-eye distance ({result.status.replace('_', ' ')} after {result.evaluations} evaluations of "
        f"the chain and {result.gradients} gradients, {result.seconds:.1f} s)",
        highlight=False,
    )
    for path in paths:
        print(path)  # not wrapped: paths are there to be copied


def _unseen(result: FitResult) -> str:
    """Expressions by name, as they are what people set; shape controls by number."""
    expressions = [name for name in result.unobservable if name in result.controls]
    shapes = len(result.unobservable) - len(expressions)
    told = expressions[:NAMED]
    if rest := len(expressions) - len(told):
        told.append(f"{rest} more")
    if shapes:
        told.append(f"{shapes} control{'s' * (shapes > 1)} of the head's shape")
    return " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))

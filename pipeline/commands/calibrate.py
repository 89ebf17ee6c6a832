"""`chainrig calibrate`: neutral photos of a person → the person's head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.arguments import ConfigFile, Quiet, Settings
from pipeline.commands.progress import bar
from pipeline.commands.screen import screen
from pipeline.environment import use_machine
from pipeline.errors import ChainRigError


def calibrate(
    photos: Annotated[
        list[Path], typer.Argument(help="Photos of one person with a neutral face.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("subject.json"),
    config: ConfigFile = None,
    set_: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Fix a person's head from one or more neutral PHOTOS, for chainrig fit --subject."""
    from pipeline.config import load_config
    from pipeline.outputs.folder import require_writable, write_files
    from pipeline.target.photo import read_photo

    settings = load_config(config, set_ or [])
    if out.is_dir():
        raise ChainRigError(f"{out} is a folder: give --out a file, such as {out / 'subject.json'}.")
    require_writable(out.parent)
    pictures = [read_photo(photo) for photo in photos]

    from pipeline.calibrate import calibrate as find_subject
    from pipeline.calibrate import largest_face
    from pipeline.subject import subject_json

    use_machine(settings.fit.threads)
    faces = [(picture, largest_face(picture)[1]) for picture in pictures]
    with bar("Calibrating", quiet) as show:
        subject = find_subject(faces, settings, on_progress=show)
    write_files(out.parent, {out.name: subject_json(subject).encode()})
    if not quiet:
        of = f"{len(photos)} photos" if len(photos) > 1 else "one photo"
        screen.print(
            f"The head of {of}: its shape alone leaves {subject.residual_percent:.2f} % of the outer-eye "
            "distance between the landmarks; the rest is kept as offsets.",
            highlight=False,
        )
        print(out)

"""`chainrig train-detector`: labelled pictures → a landmark network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.screen import progress_screen, screen


def train_detector(
    data: Annotated[
        list[str],
        typer.Argument(
            help="Folders of photos with label files beside them, and the word 'synthetic'.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="File for the weights.")] = Path("out/weights.safetensors"),
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run: checkpoint, curve, pictures. A run that is there is continued.",
            show_default="the weights' name without its suffix",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches to train on.")] = 6000,
    batch: Annotated[int, typer.Option(min=2, help="Pictures in a batch.")] = 16,
    rate: Annotated[float, typer.Option(min=1e-6, max=1.0, help="Largest learning rate.")] = 2e-3,
    dropout: Annotated[float, typer.Option(min=0.0, max=0.9, help="Share of channels left out.")] = 0.1,
    persons: Annotated[int, typer.Option(min=1, help="Synthetic persons, eight pictures each.")] = 760,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 1,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes that make pictures.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Train a landmark network on DATA. Killed at any moment, the same command goes on where it was."""
    from rich.progress import Progress

    from pipeline.detect.training.loop import Recipe, about, train
    from pipeline.detect.training.prepare import prepare
    from pipeline.outputs.folder import require_writable

    folder = run if run is not None else out.with_suffix("")
    require_writable(folder)
    require_writable(out.parent)
    recipe = Recipe(steps=steps, batch=batch, rate=rate, dropout=dropout, seed=seed)
    with Progress(console=progress_screen, disable=quiet or not progress_screen.is_terminal) as bar:
        task = bar.add_task("pictures", total=None)
        source, held_out = prepare(
            data, folder / "pictures", persons, seed, max(1, workers),
            lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
        bar.update(task, visible=False)
        task = bar.add_task("training", total=steps)

        def show(step: int, row: dict[str, float]) -> None:
            error = f"training, {row['validation']:.2f} % IOD on held-out pictures" if row else "training"
            bar.update(task, completed=step, description=error)

        detector = train(source, held_out, recipe, folder, workers, show)
    detector.save(out, about(recipe, data))
    if not quiet:
        screen.print(f"{out}\n{folder / 'curve.csv'}")

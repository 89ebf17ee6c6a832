"""Training: batches in, weights out; killed at any moment it goes on where its last checkpoint was.

What a step does depends on the seed, the step's number and the state before it, and on nothing else: a
checkpoint needs no state of random generators and no position in the data beyond the step.
"""

import csv
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.detect.training import checkpoint, heatmap
from pipeline.detect.training.data import Batch, Source, batch, batches
from pipeline.detect.training.detector import HeatmapDetector
from pipeline.detect.training.network import CELLS, INPUT, WIDTHS, HeatmapNetwork
from pipeline.errors import ChainRigError

RIGHT_EYE, LEFT_EYE = 36, 45  # outer corners, of 68
COLUMNS = ("step", "rate", "loss", "error", "validation")  # of the curve; errors in % IOD
HELD_OUT = 1  # added to the seed: validation draws are never those of training


@dataclass(frozen=True)
class Recipe:
    """Every setting of a run.

    Attributes:
        steps: batches to train on.
        batch: samples in one.
        rate: largest learning rate, reached after `warm_up` of the steps, held, and let down to 0 over the
            last `cool_down` of them: a run may be lengthened until its rate falls.
        decay: of weights, AdamW's.
        average: how much of the averaged weights, which are what is used, each step keeps.
        dropout: see `HeatmapNetwork`.
        every: steps between checkpoints, each with a row of the curve.
        validation: batches to validate on.
    """

    steps: int = 6000
    batch: int = 16
    rate: float = 2e-3
    warm_up: float = 0.03
    cool_down: float = 0.35
    decay: float = 1e-3
    average: float = 0.998
    dropout: float = 0.1
    widths: tuple[int, ...] = WIDTHS
    every: int = 100
    validation: int = 12
    seed: int = 0


@dataclass
class Run:
    """The state of a training: all that a checkpoint holds."""

    recipe: Recipe
    network: HeatmapNetwork
    averaged: HeatmapNetwork
    optimizer: torch.optim.AdamW
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(cls, recipe: Recipe) -> "Run":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = HeatmapNetwork(recipe.widths, recipe.dropout)
        averaged = HeatmapNetwork(recipe.widths).eval().requires_grad_(False)
        averaged.load_state_dict(network.state_dict())
        for each in (network, averaged):
            each.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=recipe.rate, weight_decay=recipe.decay, fused=True
        )
        return cls(recipe, network, averaged, optimizer)

    @classmethod
    def resume(cls, path: Path, recipe: Recipe) -> "Run":
        """From a checkpoint of the same recipe, except that `steps` may differ.

        Raises:
            ChainRigError: the file is damaged, or of another recipe.
        """
        tensors, about = checkpoint.read(path)
        ours = {**asdict(recipe), "widths": list(recipe.widths)}
        for name, value in ours.items():
            if name != "steps" and about.get("recipe", {}).get(name) != value:
                raise ChainRigError(
                    f"{path} was trained with another {name} than {value}: "
                    "continue it with its own settings, or train into another folder."
                )
        run = cls.start(recipe)
        run.step, run.curve = about["step"], about["curve"]
        try:
            for name, network in (("network", run.network), ("averaged", run.averaged)):
                network.load_state_dict(_under(name, tensors))
            for i, parameter in enumerate(run.network.parameters()):
                run.optimizer.state[parameter] = {
                    key: _laid_out_like(parameter, tensor)
                    for key, tensor in _under(f"optimizer.{i}", tensors).items()
                }
        except RuntimeError:
            raise ChainRigError(
                f"{path} is of another version of the network: train into another folder."
            ) from None
        return run

    def save(self, path: Path) -> None:
        tensors = {}
        for name, network in (("network", self.network), ("averaged", self.averaged)):
            tensors |= {f"{name}.{key}": tensor for key, tensor in network.state_dict().items()}
        for i, parameter in enumerate(self.network.parameters()):
            tensors |= {
                f"optimizer.{i}.{key}": value for key, value in self.optimizer.state[parameter].items()
            }
        checkpoint.write(
            path, tensors, {"recipe": asdict(self.recipe), "step": self.step, "curve": self.curve}
        )

    def advance(self, data: Batch) -> dict[str, float]:
        """One step down the gradient."""
        recipe = self.recipe
        rate = recipe.rate * pace(self.step / recipe.steps, recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((recipe.seed, self.step)))  # dropout's draws
            loss, error = losses(self.network(data.pictures / 255), data)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self._average(min(recipe.average, (1 + self.step) / (10 + self.step)))
        return {"rate": rate, "loss": float(loss.detach()), "error": float(error)}

    @torch.no_grad()
    def _average(self, keep: float) -> None:
        new = self.network.state_dict()
        for name, old in self.averaged.state_dict().items():
            if old.is_floating_point():
                old.lerp_(new[name], 1 - keep)
            else:
                old.copy_(new[name])

    @torch.no_grad()
    def validate(self, held_out: list[Batch]) -> float:
        """Mean error in % IOD of the averaged weights."""
        errors = [losses(self.averaged(data.pictures / 255), data)[1] for data in held_out]
        return float(torch.stack(errors).mean())


def train(
    source: Source,
    held_out: Source,
    recipe: Recipe,
    folder: Path,
    workers: int = 0,
    progress: Callable[[int, dict[str, float]], Any] = lambda step, row: None,
) -> HeatmapDetector:
    """Trains, or goes on with, the run of a folder: `checkpoint.safetensors` and `curve.csv` appear there.

    Args:
        progress: told the number of steps done and the latest row of the curve.

    Raises:
        ChainRigError: the folder holds a run of another recipe, or cannot be written to.
    """
    path = folder / "checkpoint.safetensors"
    run = Run.resume(path, recipe) if path.exists() else Run.start(recipe)
    exam = [batch(held_out, recipe.seed + HELD_OUT, i, recipe.batch) for i in range(recipe.validation)]
    sums: dict[str, float] = {}
    row = run.curve[-1] if run.curve else {}
    first = run.step
    for data in batches(source, recipe.seed, range(first, recipe.steps), recipe.batch, workers):
        for name, value in run.advance(data).items():
            sums[name] = sums.get(name, 0.0) + value
        if run.step % recipe.every == 0 or run.step == recipe.steps:
            count = run.step - (run.curve[-1]["step"] if run.curve else 0)
            means = {name: value / count for name, value in sums.items()}
            row = {"step": run.step, **means, "validation": run.validate(exam)}
            run.curve.append(row)
            run.save(path)
            write_curve(folder / "curve.csv", run.curve)
            sums = {}
        progress(run.step, row)
    return HeatmapDetector(run.averaged)


def about(recipe: Recipe, data: Sequence[str]) -> dict[str, Any]:
    """What the file of weights says of where they come from."""
    return {"recipe": asdict(recipe), "data": list(data)}


def losses(scores: Tensor, data: Batch) -> tuple[Tensor, Tensor]:
    """What training lessens, and the mean error in % IOD, of `(N, 68, 16, 16)` scores."""
    scale = CELLS / INPUT
    wanted, weights = data.points * scale, data.weights
    inside = ((wanted > 0) & (wanted < CELLS)).all(-1)  # a heatmap cannot point beyond its edge
    weights = weights * inside
    share = weights / weights.sum().clamp(min=1e-6)
    distance = (heatmap.decode(scores) - wanted).square().sum(-1).clamp(min=1e-8).sqrt()
    loss = (share * (heatmap.surprise(scores, wanted) + distance)).sum()
    eyes = (wanted[:, LEFT_EYE] - wanted[:, RIGHT_EYE]).norm(dim=-1).clamp(min=1.0)
    return loss, 100 * (share * distance.detach() / eyes[:, None]).sum()


def pace(done: float, recipe: Recipe) -> float:
    """The learning rate over its largest when a share of the steps is done: up, level, down like a cosine."""
    if done < recipe.warm_up:
        return (done + 1e-3) / (recipe.warm_up + 1e-3)
    falling = max(0.0, (done - 1 + recipe.cool_down) / recipe.cool_down)
    return 0.5 * (1 + math.cos(math.pi * falling))


def write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """The curve as a CSV file, replaced in one step."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS)
    table.writeheader()
    table.writerows({name: f"{row[name]:.6g}" for name in COLUMNS} for row in rows)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    draft.write_text(text.getvalue())
    os.replace(draft, path)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The same values in the parameter's order in memory, through which AdamW's fused step walks both."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor.clone()

"""`chainrig detector bias` as a person meets it."""

import csv
import json
import os
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.commands.detector import detector_app
from pipeline.detector_bias import measure, presence
from pipeline.detector_bias.file import read_bias
from pipeline.errors import ChainRigError


class Run(NamedTuple):
    folder: Path
    stdout: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The smallest run, with few looks at derivatives and presence."""
    folder = tmp_path_factory.mktemp("with spaces") / "bias of a detector"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "LOOKED_AT", 1)
        patch.setattr(presence, "YAWS", (-90, 0, 90))
        patch.setattr(presence, "PITCHES", (-30, 0, 30))
        done = CliRunner().invoke(
            detector_app, ["bias", "--renders", "25", "--out", str(folder)], catch_exceptions=False
        )
    assert done.exit_code == 0, done.output
    return Run(folder, done.stdout)


def test_the_arrays_are_what_a_fit_reads(run: Run) -> None:
    found = read_bias(run.folder / "bias.npz", "mediapipe478")
    assert found.renders == 25 and not found.independent
    assert 0.5 < float(found.spread.mean()) < 6 and float(found.bias.norm(dim=-1).mean()) < 4
    with np.load(run.folder / "bias.npz") as file:
        assert file["part_names"].tolist() == ["pose", "light", "expression", "identity", "rest"]
        assert file["parts"].shape == (5, 478) and (file["parts"] >= 0).all()
        assert file["presence"].shape == (3, 3) and file["presence"][1, 1] > 0.9 > file["presence"][0, 1]


def test_the_table_has_a_row_for_every_landmark(run: Run) -> None:
    rows = list(csv.DictReader((run.folder / "bias.csv").read_text().splitlines()))
    found = read_bias(run.folder / "bias.npz")
    assert [int(row["index"]) for row in rows] == list(range(478))
    assert rows[10]["region"] == "outline" and rows[33]["region"] == "right eye"
    for i in (0, 33, 400):
        assert float(rows[i]["bias_x"]) == pytest.approx(float(found.bias[i, 0]), abs=1e-3)
        assert float(rows[i]["spread"]) == pytest.approx(float(found.spread[i]), abs=1e-3)


def test_the_document_says_it_in_short(run: Run) -> None:
    found = json.loads((run.folder / "bias.json").read_text())
    assert found["renders"] == found["renders_with_a_face"] == 25
    assert sum(found["share_of_variance"].values()) == pytest.approx(1)
    assert found["mean_bias_is_independent"] is False
    assert list(found["bias_by_expression_percent_iod"])[:2] == ["neutral", "smile"]
    own, smoothed = (found["derivative_change"][f"smoothing {width}"] for width in ("0", "0.3"))
    assert 0 < smoothed["0.125"] < own["0.125"] < own["1.0"] < 2
    assert 0 < found["presence_limits_deg"]["left"] < 90
    flat = " ".join(run.stdout.split())
    assert all(" ".join(sentence.split()) in flat for sentence in found["in_short"])
    assert "outline" in run.stdout and str(run.folder / "bias.png") in run.stdout.replace("\n", "")


def test_the_picture_shows_arrows_and_ellipses_on_the_face(run: Run) -> None:
    picture = Image.open(BytesIO((run.folder / "bias.png").read_bytes()))
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert picture.width > 1200 and picture.height > 900
    coloured = np.ptp(pixels, axis=-1) > 60  # the face is grey, marks are orange
    middle = picture.width // 2
    for half in (coloured[:700, :middle], coloured[:700, middle:]):
        assert 0.005 < half.mean() < 0.4


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--renders", "0"], "--renders takes 25 to 2209, not 0"),
        (["--detector", "nobody"], "There is no detector 'nobody'"),
        (["--rig", "no.npz"], "no.npz"),
        (["--out", "file/folder"], "cannot be written to"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ChainRigError) as refused:
        CliRunner().invoke(detector_app, ["bias", *arguments], catch_exceptions=False)
    assert reason in str(refused.value) and "\n" not in str(refused.value)
    assert os.listdir(tmp_path) == ["file"]

"""What a fit is worth: against labels, against known controls, and over many images."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluated import fit_result

from pipeline.errors import ChainRigError
from pipeline.evaluation.control_error import angle_between, control_error
from pipeline.evaluation.histogram import draw, histogram
from pipeline.evaluation.label_error import comparable, label_error
from pipeline.evaluation.row import Row, row_of
from pipeline.evaluation.sentences import sentences
from pipeline.evaluation.statistics import called, ranges, summary
from pipeline.evaluation.table import MOST, UNFITTED, table, unfitted
from pipeline.evaluation.truth import Truth
from pipeline.target.labels.labels import Labels
from pipeline.target.schemes import IBUG68, MEDIAPIPE478, WFLW98, Scheme

FIXED = (8, *range(17, 68))  # iBUG's points but the outline of the jaw


def labels(points: torch.Tensor, of: Scheme = IBUG68, only: list[int] | None = None) -> Labels:
    weights = torch.zeros(len(of), dtype=torch.float64)
    weights[list(range(len(of))) if only is None else only] = 1
    return Labels(points.double().masked_fill(weights[:, None] == 0, torch.nan), weights, of, Path("x.json"))


def test_labels_are_compared_in_percent_of_their_eye_distance_without_the_jaws_outline() -> None:
    fit = fit_result()
    placed = fit.projected68 + torch.tensor([3.0, 4.0])  # 5 px of 100 between the eyes
    placed[0] += 1000  # on the jaw
    placed[30] += torch.tensor([3.0, 4.0])
    found = label_error(fit, labels(placed))
    assert found.points == FIXED
    assert found.fitted == pytest.approx((51 * 5 + 10) / 52, abs=1e-5)
    assert found.worst == pytest.approx(10, abs=1e-5)
    assert found.regions["lip"] == pytest.approx(5, abs=1e-5)
    assert found.regions["nose"] == pytest.approx((8 * 5 + 10) / 9, abs=1e-5)


def test_some_labels_without_eye_corners_are_measured_by_the_fits_own() -> None:
    fit = fit_result()
    found = label_error(fit, labels(fit.projected68 + torch.tensor([0.0, 2.0]), only=[0, 30, 48, 54]))
    assert found.points == (30, 48, 54) and found.fitted == pytest.approx(2, abs=1e-5)
    with pytest.raises(ChainRigError, match="no point that can be compared"):
        label_error(fit, labels(fit.projected68, only=[0, 1, 16]))


def test_other_schemes_are_compared_where_they_mean_the_same_points() -> None:
    fit = fit_result()
    of_wflw = comparable(WFLW98)
    assert not {i for i in of_wflw if WFLW98.regions[i] == "jaw" and WFLW98.names[i] != "chin"}
    assert of_wflw[60].points == (36,) and of_wflw[72].points == (45,)
    placed = torch.full((98, 2), 7.0)
    for i, match in of_wflw.items():
        placed[i] = fit.projected68[list(match.points)].mean(0)
    assert label_error(fit, labels(placed, WFLW98)).fitted == pytest.approx(0, abs=1e-5)
    assert len(comparable(MEDIAPIPE478)) > 30


def test_the_detectors_own_distance_is_told_beside() -> None:
    fit = replace(fit_result(scheme="ibug68"), target=fit_result().projected68 + torch.tensor([0.0, 1.0]))
    assert label_error(fit, labels(fit.projected68)).detector == pytest.approx(1, abs=1e-5)


def test_control_errors_leave_out_what_the_photo_cannot_show() -> None:
    fit = fit_result(
        controls={"jawOpen": 0.5, "mouthLeft": 0.1, "tongueOut": 0.9},
        identity={"head-fat-incr": 0.3},
        unobservable=("tongueOut",),
        rotation_vector=(0.0, math.radians(10), 0.0),
    )
    truth = Truth(
        {"jawOpen": 0.8, "mouthLeft": 0.0, "tongueOut": 0.0},
        {"head-fat-incr": -0.1},
        (0.0, math.radians(-20), 0.0),
    )
    found = control_error(fit, truth)
    assert (found.active, found.quiet) == (pytest.approx(0.3), pytest.approx(0.1))
    assert found.observable == pytest.approx(0.2) and found.every == pytest.approx(1.3 / 3)
    assert found.identity == pytest.approx(0.4) and found.rotation_deg == pytest.approx(30)


def test_rotations_are_apart_by_the_angle_between_them_not_by_their_vectors() -> None:
    assert angle_between((0, math.pi - 0.01, 0), (0, -math.pi + 0.01, 0)) == pytest.approx(math.degrees(0.02))
    assert angle_between((0.1, 0.2, 0.3), (0.1, 0.2, 0.3)) == pytest.approx(0, abs=1e-5)


def test_what_is_unknown_is_not_judged() -> None:
    row = row_of("a.png", fit_result(), truth=Truth({"jawOpen": 0.5}))
    assert row.truth is not None and row.truth.rotation_deg is None and row.truth.identity is None
    found = summary([row_of("a.png", fit_result()), Row("b.png", "failed", "no face")])
    assert (found["images"], found["fitted"], found["failed"]) == (2, 1, 1)
    assert found.keys() & {"labels", "truth", "neutral", "smile"} == set()
    assert "fits" not in summary([Row("b.png", "failed", "no face")])


@pytest.mark.parametrize(
    ("path", "kind", "rest"),
    [
        ("001_neutral.jpg", "neutral", "001"),
        ("001_Smiling.jpg", "smile", "001"),
        ("smile/ann.png", "smile", "ann"),
        ("neutral/ann.png", "neutral", "ann"),
        ("neutral set/ann_smile_2.png", "smile", "neutral set/ann__2"),
        ("ann.v2.png", "", "ann.v2"),
    ],
)
def test_names_tell_the_expression(path: str, kind: str, rest: str) -> None:
    assert called(path) == (kind, rest)


def smiling(path: str, left: float, right: float, jaw: float = 0.0) -> Row:
    controls = {"jawOpen": jaw, "mouthSmileLeft": left, "mouthSmileRight": right}
    return row_of(path, fit_result(controls=controls))


def test_smiles_rise_from_the_neutral_image_of_the_same_name() -> None:
    rows = [
        smiling("a_neutral.jpg", 0.1, 0.1, jaw=0.4),
        smiling("a_smiling.jpg", 0.7, 0.5, jaw=0.3),
        smiling("b_neutral.jpg", 0.0, 0.0),
        smiling("b_smiling.jpg", 0.2, 0.0),
        smiling("c_smiling.jpg", 1.0, 1.0),
    ]
    found = summary(rows)
    assert found["smile"]["pairs"] == 2 and found["smile"]["least_pair"] == "b"
    assert found["smile"]["rise_mean"] == pytest.approx((0.5 + 0.1) / 2)
    assert found["smile"]["rise_least"] == pytest.approx(0.1)
    assert found["smile"]["others_mean"] == pytest.approx(0.3 / 2)  # the jaw's, in two images
    assert "all but a smile's controls are at 0.150" in " ".join(sentences(found))
    neutral = found["neutral"]
    assert neutral["images"] == 2 and neutral["mean_expression"] == pytest.approx(0.6 / 3 / 2)
    assert (neutral["largest_median"], neutral["worst_control"]) == (pytest.approx(0.2), "jawOpen")


def test_truth_counts_every_control_of_every_image_the_same() -> None:
    one = fit_result(controls={"jawOpen": 0.5})
    found = {"jawOpen": 0.0, "mouthLeft": 0.1, "browInnerUp": 0.2, "tongueOut": 1.0}
    three = fit_result(controls=found, unobservable=("tongueOut",))
    truth = Truth({"jawOpen": 0.4, **dict.fromkeys(list(found)[1:], 0.0)}, rotation_vector=(0.0, 0.0, 0.0))
    found = summary([row_of("a", one, truth=truth), row_of("b", three, truth=truth)])["truth"]
    assert found["observable_error"] == pytest.approx((0.1 + 0.4 + 0.1 + 0.2) / 4)
    assert found["active_error"] == pytest.approx(0.25) and found["quiet_error"] == pytest.approx(0.15)
    assert found["at_rest"] == pytest.approx(0.8 / 4) and found["every_error"] == pytest.approx(1.8 / 5)
    assert list(found["worst_controls"].items())[0] == ("jawOpen", pytest.approx(0.25))
    assert found["rotation_deg_worst"] == pytest.approx(0, abs=1e-6)


def test_the_summary_in_words_says_which_points_were_compared() -> None:
    fit = fit_result()
    row = row_of("a_neutral.png", fit, labels(fit.projected68 + 1), Truth(dict(fit.controls)))
    told = " ".join(sentences(summary([row])))
    assert "Compared: ibug68 8, 17-67" in told and "1 image," in told and "jawOpen" in told
    assert ranges([8, 17, 18, 19, 30, 31]) == "8, 17-19, 30, 31"


def test_the_table_has_the_worst_fits_first_and_at_most_twenty_lines() -> None:
    rows = [row_of(f"{i:02}.png", fit_result(residual_final=float(i))) for i in range(30)]
    shown = table(rows)
    assert list(shown.columns[0].cells)[:2] == ["29.png", "28.png"] and shown.row_count == MOST
    lost = unfitted([Row(f"{i}.png", "failed", "no face") for i in range(30)])
    assert len(lost) == UNFITTED and lost[0] == "0.png failed: no face" and "and 23 more" in lost[-1]


def test_histograms_count_every_value_and_gather_what_lies_far_out() -> None:
    found = histogram([0.0, 0.1, 0.1, 0.3])
    assert sum(found.counts) == 4 and found.counts[0] == 1 and found.counts[-1] == 1 and not found.beyond
    found = histogram([0.5 + i / 100 for i in range(50)] + [80.0])
    assert sum(found.counts) == 51 and found.beyond and found.width * len(found.counts) < 4
    assert histogram([0.0, 0.0]).counts == (2,)


def test_the_histogram_has_a_panel_for_what_is_known() -> None:
    fit = fit_result()
    plain, judged = row_of("a", fit), row_of("b", fit, labels(fit.projected68 + 1))
    small, large = draw([plain]), draw([plain, judged])
    assert large.height > small.height
    with pytest.raises(ValueError, match="nothing to draw"):
        draw([Row("c", "failed", "no face")])

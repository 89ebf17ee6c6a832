"""Which points a fit compares, and how much each counts."""

import pytest
import torch

from pipeline.detect.embedding import FACE_OVAL
from pipeline.errors import ChainRigError
from pipeline.target.comparison import own_points
from pipeline.target.reading import converted
from pipeline.target.schemes import scheme


def test_the_outline_of_the_face_is_left_out_and_the_irises_are_not() -> None:
    mesh = own_points("mediapipe478")
    assert len(mesh) == 442 and not mesh.from_detector[:, list(FACE_OVAL)].any()
    assert bool(mesh.from_detector[:, 468:].any(0).all())
    ibug = own_points("ibug68")
    seen = ibug.from_detector.any(0).nonzero().flatten().tolist()
    assert seen == [8, *range(17, 68)]  # of the jaw, the chin alone is a place on the skin
    with pytest.raises(ChainRigError, match="ibug86"):
        own_points("ibug86")


@pytest.mark.parametrize("name", ["mediapipe478", "ibug68", "wflw98"])
def test_where_the_rig_has_the_points_is_where_the_detector_sees_them(name: str) -> None:
    on_rig = torch.randn(3, 478, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    compared = own_points(name)
    assert compared.from_detector.shape == (len(compared), len(scheme(name)))
    as_seen = converted(on_rig, "mediapipe478", name).nan_to_num()
    torch.testing.assert_close(compared.detected(as_seen), compared.embedded(on_rig))


def test_whitened_points_count_by_their_variance() -> None:
    spread = torch.linspace(1, 3, 68)
    white = own_points("ibug68").whitened(spread)
    assert float(white.share.sum()) == pytest.approx(1)
    nose, mouth = 30 - 16, 60 - 16  # places of points 30 and 60 among those that are compared
    nose_variance, mouth_variance = (spread[i] ** 2 + spread.median() ** 2 for i in (30, 60))
    assert float(white.share[nose] / white.share[mouth]) == pytest.approx(mouth_variance / nose_variance)
    torch.testing.assert_close(white.whitened(torch.ones(68)).share, white.share)

"""Landmark schemes: names, twins, and the table of which point is which."""

from pathlib import Path

import pytest
import torch

from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.target.matches import MARK, matches, tables
from pipeline.target.reading import converted
from pipeline.target.scheme_file import find_scheme, read_scheme
from pipeline.target.schemes import IBUG68, MEDIAPIPE478, SCHEMES, WFLW98, Scheme

PAGE = Path(__file__).parent.parent / "docs" / "landmarks.md"


@pytest.fixture(scope="module")
def places() -> torch.Tensor:
    """(478, 3) the mesh's points on the resting head, metres; the subject's left is +x."""
    rig = Rig.load()
    assert rig.landmark_triangle is not None and rig.landmark_barycentric is not None
    return (rig.landmark_barycentric[..., None] * rig.rest[rig.triangles[rig.landmark_triangle]]).sum(-2)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_every_point_has_a_name_a_region_and_a_twin(scheme: Scheme) -> None:
    assert len(set(scheme.names)) == len(scheme) == len(scheme.regions) == len(scheme.twins)
    assert [scheme.twins[twin] for twin in scheme.twins] == list(range(len(scheme)))
    right, left = scheme.outer_eyes or (0, 0)
    assert scheme.twins[right] == left != right


@pytest.mark.parametrize(("scheme", "count"), [(IBUG68, 68), (WFLW98, 98), (MEDIAPIPE478, 478)])
def test_schemes_have_as_many_points_as_their_names_say(scheme: Scheme, count: int) -> None:
    assert len(scheme) == count


def test_twins_lie_opposite_to_each_other_on_the_head(places: torch.Tensor) -> None:
    opposite = places[list(MEDIAPIPE478.twins)] * torch.tensor([-1.0, 1, 1])
    assert (places - opposite).norm(dim=-1).max() < 0.003
    right, left = MEDIAPIPE478.outer_eyes or (0, 0)
    assert places[right, 0] < 0 < places[left, 0]


def test_well_known_points() -> None:
    assert [IBUG68.names[i] for i in (8, 30, 36, 45, 48, 54, 57, 62)] == [
        "chin", "nose_tip", "eye_right_outer", "eye_left_outer", "mouth_right", "mouth_left", "lower_lip",
        "inner_upper",
    ]  # fmt: skip
    assert [WFLW98.names[i] for i in (16, 54, 60, 72, 76, 82, 96, 97)] == [
        "chin", "nose_tip", "eye_right_outer", "eye_left_outer", "mouth_right", "mouth_left", "pupil_right",
        "pupil_left",
    ]  # fmt: skip
    assert [WFLW98.twins[i] for i in (0, 33, 38, 60, 61, 65, 76, 88)] == [32, 46, 50, 72, 71, 75, 82, 92]
    assert [IBUG68.twins[i] for i in (0, 8, 17, 21, 31, 37, 41, 49, 61, 67)] == [
        16, 8, 26, 22, 35, 44, 46, 53, 63, 65,
    ]  # fmt: skip


@pytest.mark.parametrize("target", SCHEMES)
@pytest.mark.parametrize("source", SCHEMES.values(), ids=list(SCHEMES))
def test_twins_match_twins(source: Scheme, target: str) -> None:
    table, twins = matches(source, target), SCHEMES[target].twins
    for i, match in enumerate(table):
        twin = table[source.twins[i]]
        if match is None or twin is None:
            assert match is twin
            continue
        assert {twins[point] for point in match.points} == set(twin.points), source.names[i]
        assert match.agreement == twin.agreement


@pytest.mark.parametrize("target", SCHEMES)
@pytest.mark.parametrize("source", SCHEMES)
def test_there_and_back_is_the_same_point(source: str, target: str) -> None:
    there, back = matches(SCHEMES[source], target), matches(SCHEMES[target], source)
    for i, match in enumerate(there):
        if match is not None and match.agreement == "exact":
            returned = back[match.points[0]]
            assert returned is not None and returned.points == (i,) and returned.agreement == "exact"


def test_a_jaw_on_the_skin_is_not_one_on_the_outline() -> None:
    for scheme in (IBUG68, WFLW98):
        jaw = [match for match, region in zip(matches(scheme, "mediapipe478"), scheme.regions, strict=True)
               if region == "jaw"]  # fmt: skip
        assert [match.agreement for match in jaw if match].count("outline") == len(jaw) - 1
        assert jaw[len(jaw) // 2] == ("mediapipe478", (152,), "near")


def test_counterparts_lie_close_on_the_head(places: torch.Tensor) -> None:
    """WFLW's points through iBUG's are near WFLW's own: another road to the same place."""
    direct = converted(places, "mediapipe478", "wflw98")
    detour = converted(converted(places, "mediapipe478", "ibug68"), "ibug68", "wflw98")
    distance = (direct - detour).norm(dim=-1)
    assert distance.nan_to_num(0).max() < 0.006
    assert int(distance.isnan().sum()) == 10  # the brows' lower edges and the pupils


def test_curves_are_cut_into_equal_parts(places: torch.Tensor) -> None:
    ibug = converted(places, "mediapipe478", "ibug68")
    for curve in ([48, 59, 58, 57, 56, 55, 54], [36, 37, 38, 39], [36, 41, 40, 39], [27, 28, 29, 30]):
        steps = (ibug[curve[1:]] - ibug[curve[:-1]]).norm(dim=-1)
        assert steps.max() / steps.min() < 1.5


def test_conversion_of_points_without_a_counterpart_is_nan() -> None:
    points = torch.arange(2 * 68 * 2.0).view(2, 68, 2)
    wflw = converted(points, "ibug68", "wflw98")
    assert wflw.shape == (2, 98, 2)
    assert wflw[:, 96:].isnan().all()
    assert torch.equal(wflw[:, 76:96], points[:, 48:])
    assert torch.equal(wflw[:, 1], (points[:, 0] + points[:, 1]) / 2)


def test_the_page_shows_the_table_in_use() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(MARK)[2].strip() == tables()


@pytest.mark.parametrize(
    ("point", "words"), [("68", "0 to 67"), ("noze_tip", "nose_tip"), ("-1", "-1"), ("mesh_3", "ibug68")]
)
def test_unknown_points_are_named(point: str, words: str) -> None:
    with pytest.raises(ChainRigError, match=words):
        IBUG68.index(point)


STUDIO = """{"schema": "chainrig.scheme/1", "name": "studio", "points": [
    {"name": "cheek", "like": "mediapipe478:50+101", "agreement": "near"},
    {"name": "eye_right", "like": "ibug68:36"}, {"name": "eye_left", "like": "wflw98:eye_left_outer"},
    {"name": "lid", "like": "wflw98:62"}, {"name": "jaw", "like": "ibug68:4"}]}"""


def test_a_scheme_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "studio.json").write_text(STUDIO)
    own = find_scheme("studio.json", beside=tmp_path)
    assert own == read_scheme(tmp_path / "studio.json")
    assert own.outer_eyes == (1, 2)
    assert own.twins == (0, 2, 1, 3, 4)
    mesh = matches(own, "mediapipe478")
    assert mesh[0] == ("mediapipe478", (50, 101), "near")
    assert mesh[1] == ("mediapipe478", (33,), "exact")
    assert mesh[4] == ("mediapipe478", (172,), "outline")
    ibug = matches(own, "ibug68")
    assert ibug[0] is None
    assert ibug[2] == ("ibug68", (45,), "exact")
    assert ibug[3] == ("ibug68", (37, 38), "near")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("chainrig.scheme/1", "other", "chainrig.scheme/1"),
        ('"studio"', '"ibug68"', "name"),
        ("ibug68:36", "ibug68:99", "99"),
        ("ibug68:36", "ibug69:36", "ibug69"),
        ("ibug68:36", "36", "ibug68:8"),
        ('"near"', '"so-so"', "so-so"),
        ('"lid"', '"jaw"', "jaw"),
        ('"lid"', '"7"', "number"),
        ('"name": "lid"', '"nam": "lid"', "nam"),
        ("]}", "", "JSON"),
    ],
)
def test_a_wrong_scheme_file_is_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in STUDIO
    (tmp_path / "wrong.json").write_text(STUDIO.replace(old, new))
    with pytest.raises(ChainRigError, match=words) as error:
        read_scheme(tmp_path / "wrong.json")
    assert "\n" not in str(error.value) and "wrong.json" in str(error.value)


def test_unknown_schemes_are_named() -> None:
    with pytest.raises(ChainRigError, match="ibug86.*ibug68, wflw98, mediapipe478"):
        find_scheme("ibug86")

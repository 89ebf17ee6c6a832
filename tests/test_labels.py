"""Hand labels: every format gives the same points, and whatever is wrong is one sentence."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import ChainRigError
from pipeline.target.labels.labels import Labels
from pipeline.target.labels.read import read_all_labels, read_labels
from pipeline.target.labels.write import write_labels
from pipeline.target.schemes import IBUG68, MEDIAPIPE478, SCHEMES, WFLW98, Scheme


def written(folder: Path, name: str, content: str | bytes | dict[str, Any] | list[Any]) -> Path:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def grid(count: int) -> list[tuple[float, float]]:
    """Points in pixels from the corner."""
    return [(100.25 + 3 * i, 500.5 - 2 * i) for i in range(count)]


def complete(scheme: Scheme) -> Labels:
    points = torch.tensor(grid(len(scheme)), dtype=torch.float64)
    return Labels(points, torch.ones(len(scheme), dtype=torch.float64), scheme, Path("labels"))


def pts(points: list[tuple[float, float]], said: int | None = None) -> str:
    lines = "\n".join(f"{x} {y}" for x, y in points)
    return f"version: 1\nn_points:  {len(points) if said is None else said}\n{{\n{lines}\n}}\n"


def from_centre(points: list[tuple[float, float]]) -> list[list[float]]:
    """The same points in pixels from the centre of the top-left pixel."""
    return [[x - 0.5, y - 0.5] for x, y in points]


def ours(**changes: Any) -> dict[str, Any]:
    document = {"schema": "chainrig.labels/1", "scheme": "ibug68", "origin": "corner"}
    document |= {"points": {"chin": [10, 20], "36": [30.5, 40, 0.5], "39": None, "45": [None, None, 0]}}
    return {key: value for key, value in (document | changes).items() if value != "absent"}


def ljson(version: int) -> dict[str, Any]:
    flipped: list[Any] = [[y, x] for x, y in from_centre(grid(68))]
    flipped[5] = [None, None]
    landmarks = {"connectivity": [[0, 1]], "points": flipped}
    labels = [{"label": "jaw", "mask": list(range(17))}]
    if version == 1:
        parts = {"jaw": flipped[:17], "rest": flipped[17:]}
        groups = [{"label": name, "connectivity": [], "landmarks": [{"point": point} for point in points]}
                  for name, points in parts.items()]  # fmt: skip
        return {"version": 1, "groups": groups}
    if version == 2:
        return {"version": 2, "labels": labels, "landmarks": landmarks}
    return {"version": 3, "groups": {"PTS": {"labels": labels, "landmarks": landmarks}}}


def coco(key: str = "keypoints") -> dict[str, Any]:
    values = [value for x, y in from_centre(grid(68)) for value in (x, y, 2)]
    values[15:18] = [0, 0, 0]  # point 5
    values[20] = 1  # point 6 is hidden
    return {
        "images": [{"id": 7, "file_name": "set/me.jpg", "width": 800, "height": 600}],
        "annotations": [{"id": 1, "image_id": 7, key: values}, {"id": 2, "image_id": 7}],
        "categories": [{"id": 1, "name": "face"}],
    }


def test_pts_counts_from_one(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, "me.pts", pts([(1.0, 1.0)] + grid(67))))
    assert labels.scheme is IBUG68
    assert labels.points[0].tolist() == [0.5, 0.5]  # the centre of the first pixel
    assert labels.labelled.all()


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_the_number_of_points_tells_the_scheme(tmp_path: Path, scheme: Scheme) -> None:
    labels = read_labels(written(tmp_path, "me.pts", pts(grid(len(scheme)))))
    assert labels.scheme is scheme
    assert torch.equal(labels.points, complete(scheme).points - 0.5)


def test_a_mesh_without_irises(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, "me.pts", pts(grid(468))))
    assert labels.scheme is MEDIAPIPE478
    assert labels.labelled.tolist() == [True] * 468 + [False] * 10


def test_our_json(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, "me.json", ours(image="me.jpg", image_size=[640, 480])))
    assert labels.labelled.nonzero().flatten().tolist() == [8, 36]
    assert labels.points[[8, 36]].tolist() == [[10, 20], [30.5, 40]]
    assert labels.weights[[8, 36, 39]].tolist() == [1, 0.5, 0]
    assert labels.points[39].isnan().all()
    assert (labels.image, labels.image_size) == ("me.jpg", (640, 480))


def test_the_origin_shifts_points(tmp_path: Path) -> None:
    file = written(tmp_path, "me.json", ours(origin="centre"))
    assert read_labels(file).points[8].tolist() == [10.5, 20.5]
    assert read_labels(file, origin="one").points[8].tolist() == [9.5, 19.5]
    assert read_labels(file, origin="corner").points[8].tolist() == [10, 20]


def test_partial_sets_under_their_ibug_number(tmp_path: Path) -> None:
    document = {"image": "1.jpg", "points68_partial": {"8": [335.75, 497.25], "33": [334.75, 388.75]}}
    labels = read_labels(written(tmp_path, "1.json", document | {"pupils": {}, "licence": "CC BY 4.0"}))
    assert labels.scheme is IBUG68 and labels.image == "1.jpg"
    assert labels.points[8].tolist() == [336.25, 497.75]
    assert int(labels.labelled.sum()) == 2


@pytest.mark.parametrize("version", [1, 2, 3])
def test_ljson_has_rows_first_and_null_for_nothing(tmp_path: Path, version: int) -> None:
    labels = read_labels(written(tmp_path, "me.ljson", ljson(version)))
    expected = complete(IBUG68).points
    expected[5] = torch.nan
    torch.testing.assert_close(labels.points, expected, equal_nan=True)
    assert not labels.labelled[5] and int(labels.labelled.sum()) == 67


@pytest.mark.parametrize("key", ["keypoints", "face_kpts"])
def test_coco_weighs_by_visibility(tmp_path: Path, key: str) -> None:
    labels = read_labels(written(tmp_path, "me.json", coco(key)))
    torch.testing.assert_close(labels.points[6:], complete(IBUG68).points[6:])
    assert labels.weights[4:8].tolist() == [1, 0, 0.5, 1]
    assert (labels.image, labels.image_size) == ("set/me.jpg", (800, 600))


def test_coco_without_a_frame(tmp_path: Path) -> None:
    annotation = coco()["annotations"][0]
    for content in (annotation, [annotation]):
        assert int(read_labels(written(tmp_path, "me.json", content)).labelled.sum()) == 67


def test_a_file_of_several_photos(tmp_path: Path) -> None:
    document = coco()
    document["images"].append({"id": 8, "file_name": "set/you.jpg"})
    document["annotations"].append(document["annotations"][0] | {"image_id": 8, "keypoints": [9, 9, 2] * 68})
    file = written(tmp_path, "all.json", document)
    assert read_labels(file, image="elsewhere/you.jpg").points[0].tolist() == [9.5, 9.5]
    assert [labels.image for labels in read_all_labels(file)] == ["set/me.jpg", "set/you.jpg"]
    with pytest.raises(ChainRigError, match="2 faces"):
        read_labels(file)
    with pytest.raises(ChainRigError, match=r"none is called they\.jpg"):
        read_labels(file, image="they.jpg")


@pytest.mark.parametrize(
    "text",
    [
        "# scheme: ibug68\n# origin: centre\npoint,x,y,weight\nchin,10,20,1\n36,30.5,40,0.5\n39,,,1\n",
        "# scheme: ibug68\n# origin: centre\nweight;y;x;Point\n1;20;10;8\n0,5;40;30,5;eye_right_outer\n",
        "#origin: centre\t\t\n# scheme:ibug68\nPOINT\tx\ty\tweight\n 8 \t10\t20\t1\n36\t30,5\t40\t.5\n\t\t\n",
    ],
    ids=["commas", "semicolons", "tabs"],
)
def test_csv(tmp_path: Path, text: str) -> None:
    labels = read_labels(written(tmp_path, "me.csv", text))
    assert labels.labelled.nonzero().flatten().tolist() == [8, 36]
    assert labels.points[[8, 36]].tolist() == [[10.5, 20.5], [31, 40.5]]
    assert labels.weights[[8, 36]].tolist() == [1, 0.5]


def test_csv_without_a_header_has_all_points_in_order(tmp_path: Path) -> None:
    text = "".join(f"{x},{y}\n" for x, y in grid(98))
    labels = read_labels(written(tmp_path, "me.csv", text), origin="corner")
    assert labels.scheme is WFLW98
    assert torch.equal(labels.points, complete(WFLW98).points)


@pytest.mark.parametrize("name", ["me.pts", "me.json", "me.csv"])
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_what_is_written_reads_back(tmp_path: Path, name: str, scheme: Scheme) -> None:
    labels = complete(scheme)
    write_labels(tmp_path / name, labels)
    read = read_labels(tmp_path / name)
    torch.testing.assert_close(read.points, labels.points, rtol=0, atol=1e-6)
    assert read.scheme is scheme and torch.equal(read.weights, labels.weights)


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_partial_labels_read_back(tmp_path: Path, suffix: str) -> None:
    before = read_labels(written(tmp_path, "a.json", ours(image='mé, "1".jpg', image_size=[640, 480])))
    write_labels(tmp_path / f"b.{suffix}", before)
    after = read_labels(tmp_path / f"b.{suffix}")
    torch.testing.assert_close(after.points, before.points, equal_nan=True, rtol=0, atol=0)
    assert torch.equal(after.weights, before.weights)
    assert (after.image, after.image_size) == (before.image, before.image_size)
    with pytest.raises(ChainRigError, match="66 are not labelled"):
        write_labels(tmp_path / "b.pts", before)
    with pytest.raises(ChainRigError, match="suffix"):
        write_labels(tmp_path / "b.txt", before)


@pytest.mark.parametrize(
    "content",
    [pts(grid(68)), json.dumps(ours()), json.dumps(ljson(2)), "# origin: corner\nx,y\n" + "1,2\n" * 68],
)
@pytest.mark.parametrize(
    "dressed",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: (text + "\n \n\n").encode(),
        lambda text: text.encode("utf-16"),
    ],
    ids=["BOM", "CRLF", "trailing lines", "UTF-16"],
)
def test_dress_of_a_file_does_not_matter_nor_its_suffix(tmp_path: Path, content: str, dressed: Any) -> None:
    plain = read_labels(written(tmp_path, "me.labels", content))
    same = read_labels(written(tmp_path, "me.jpg", dressed(content)))
    assert torch.equal(same.points.nan_to_num(), plain.points.nan_to_num())
    assert torch.equal(same.weights, plain.weights)


def test_nan_is_welcome_where_the_weight_is_zero(tmp_path: Path) -> None:
    text = json.dumps(ours(points={"chin": [1, 2], "36": [float("nan"), 3, 0]}))
    assert int(read_labels(written(tmp_path, "me.json", text)).labelled.sum()) == 1


NAN = float("nan")
WRONG: list[tuple[str, Any, list[str]]] = [
    # what is no file of labels at all
    ("me.pts", "", ["empty"]),
    ("me.csv", " \r\n\t\n", ["empty"]),
    ("me.pts", b"\x89PNG\r\n\x1a\n\x00\xff", ["text"]),
    ("me.csv", b"a\x00b", ["text"]),
    ("me.json", '{"points": ', ["JSON"]),
    ("me.json", "[" * 100_000, ["JSON"]),
    ("me.json", {"hello": 1}, ["no labels"]),
    ("me.json", [], ["no labels"]),
    ("me.txt", "hello world", ["hello world"]),
    # .pts
    ("me.pts", pts(grid(67)), ["67 points", "68 (ibug68)"]),
    ("me.pts", pts(grid(67), said=68), ["68 points", "has 67"]),
    ("me.pts", pts(grid(68)).replace("}", ""), ["{ and }"]),
    ("me.pts", pts(grid(68)).replace("n_points", "points"), ["n_points"]),
    ("me.pts", pts([(NAN, NAN)] + grid(67)), ["jaw_right_8", "nan", "weight 0"]),
    ("me.pts", pts(grid(68)).replace("100.25 500.5", "100.25 500.5 1"), ["two numbers"]),
    ("me.pts", pts([(1e9, 0)] + grid(67)), ["1e+09"]),
    # ours
    ("me.json", ours(points={"chin": [NAN, 3]}), ["chin", "nan"]),
    ("me.json", ours(points={"chin": [1, float("inf")]}), ["chin", "inf"]),
    ("me.json", ours(points={"chin": [1, 2, -1]}), ["weight", "chin", "-1"]),
    ("me.json", ours(points={"chin": [1, 2, NAN]}), ["weight", "chin", "nan"]),
    ("me.json", ours(points={"chin": [1, 2, 0]}), ["no point"]),
    ("me.json", ours(points={"chin": [1]}), ["chin", "[x, y]"]),
    ("me.json", ours(points={"chin": ["1", 2]}), ["chin", "'1'"]),
    ("me.json", ours(points={"chin": [True, 2]}), ["chin", "True"]),
    ("me.json", ours(points={"chin": [10**400, 2]}), ["chin", "digits"]),
    ("me.json", ours(points={"chim": [1, 2]}), ["chim", "chin"]),
    ("me.json", ours(points={"68": [1, 2]}), ["68", "0 to 67"]),
    ("me.json", ours(points={"8": [1, 2], "chin": [1, 2]}), ["chin", "twice"]),
    ("me.json", '{"origin": "corner", "points": {"8": [1, 2], "8": [3, 4]}}', ["'8'", "twice"]),
    ("me.json", ours(points=[[1, 2]] * 67), ["67 points", "ibug68", "68"]),
    ("me.json", ours(points={}), ["no point"]),
    ("me.json", ours(points=3), ["points"]),
    ("me.json", ours(scheme="ibug86"), ["ibug86", "ibug68"]),
    ("me.json", ours(scheme="absent"), ["scheme"]),
    ("me.json", ours(scheme=3), ["scheme", "3"]),
    ("me.json", ours(origin="absent"), ["corner", "centre"]),
    ("me.json", ours(origin="middle"), ["middle", "centre"]),
    ("me.json", ours(schema="chainrig.labels/2"), ["chainrig.labels/2"]),
    ("me.json", ours(point={}), ["point", "points"]),
    ("me.json", ours(image_size=[640]), ["size"]),
    ("me.json", ours(image_size=[640.5, 480]), ["640.5"]),
    ("me.json", {"points68_partial": [[1, 2]]}, ["points68_partial"]),
    # menpo's and COCO's
    ("me.ljson", ljson(3) | {"version": 4}, ["version 4"]),
    ("me.ljson", {"version": 2, "landmarks": {}}, ["version 2"]),
    ("me.ljson", {"version": 2, "landmarks": {"points": [[1, 2, 3]] * 68}}, ["two numbers"]),
    ("me.json", {"annotations": []}, ["no annotation"]),
    ("me.json", {"annotations": [3]}, ["annotation"]),
    ("me.json", {"annotations": [{"keypoints": [1, 2]}]}, ["visibility"]),
    ("me.json", {"annotations": [{"keypoints": [1, 2, 5] * 68}]}, ["visibility", "5"]),
    ("me.json", {"annotations": [{"keypoints": [1, 2, 2] * 17}]}, ["17 points"]),
    ("me.json", {"annotations": [{"keypoints": [NAN, 2, 2] * 68}]}, ["nan"]),
    # CSV
    ("me.csv", "point,x,y\n8,1,2\n", ["scheme"]),
    ("me.csv", "# scheme: ibug68\npoint,x,y\n8,1,2\n", ["corner", "centre"]),
    ("me.csv", "# schema: ibug68\npoint,x,y\n8,1,2\n", ["schema", "scheme"]),
    ("me.csv", "# scheme: ibug68\n# origin: corner\npoint,x,z\n8,1,2\n", ["'z'"]),
    ("me.csv", "# scheme: ibug68\n# origin: corner\npoint,x\n8,1\n", ["x and y"]),
    ("me.csv", "# scheme: ibug68\n# origin: corner\npoint,x,y\n8,1\n", ["2 cells", "3 columns"]),
    ("me.csv", "# scheme: ibug68\n# origin: corner\npoint,x,y\n8,1,two\n", ["two"]),
    ("me.csv", "# scheme: ibug68\n# origin: corner\npoint,x,y\n8,1,\n", ["chin", "nan"]),
    ("me.csv", "# scheme: ibug68\n# origin: corner\npoint,x,y\n8,1,2\n8,3,4\n", ["'8'", "twice"]),
    ("me.csv", "# image_size: large\nx,y\n1,2\n", ["large"]),
    ("me.csv", "# origin: corner\n1,2\n3,4\n", ["2 points"]),
    ("me.csv", "1,2,3,4\n", ["4 columns"]),
    ("me.csv", "# origin: corner\n", ["no line"]),
]


@pytest.mark.parametrize(("name", "content", "words"), WRONG)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, name: str, content: Any, words: list[str]) -> None:
    file = written(tmp_path, name, content)
    with pytest.raises(ChainRigError) as error:
        read_labels(file)
    sentence = str(error.value)
    assert "\n" not in sentence and str(file) in sentence and sentence.endswith((".", "?"))
    for word in words:
        assert word in sentence.replace(str(file), ""), sentence


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(ChainRigError, match="folder"):
        read_labels(tmp_path)
    with pytest.raises(ChainRigError, match="no file of labels"):
        read_labels(tmp_path / "nowhere.pts")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(2**30)  # sparse: takes no room
    with pytest.raises(ChainRigError, match="1024 MB"):
        read_labels(tmp_path / "huge.json")


def test_two_schemes_that_disagree(tmp_path: Path) -> None:
    file = written(tmp_path, "me.json", ours())
    assert read_labels(file, scheme="ibug68").scheme is IBUG68
    with pytest.raises(ChainRigError, match=r"ibug68.*wflw98"):
        read_labels(file, scheme="wflw98")


def test_labels_name_a_scheme_file_beside_them(tmp_path: Path) -> None:
    own = {"schema": "chainrig.scheme/1", "name": "two", "points": [{"name": "c", "like": "ibug68:8"}]}
    written(tmp_path, "two.json", own)
    labels = read_labels(written(tmp_path, "me.json", ours(scheme="two.json", points={"c": [3, 4]})))
    assert labels.scheme.name == "two" and labels.points.tolist() == [[3, 4]]
    assert read_labels(tmp_path / "me.json", scheme=str(tmp_path / "two.json")).scheme == labels.scheme
    write_labels(tmp_path / "again.csv", labels)
    assert read_labels(tmp_path / "again.csv").scheme == labels.scheme
    (tmp_path / "elsewhere").mkdir()
    write_labels(tmp_path / "elsewhere" / "again.csv", labels)
    elsewhere = read_labels(tmp_path / "elsewhere" / "again.csv", scheme=str(tmp_path / "two.json"))
    assert elsewhere.points.tolist() == [[3, 4]]
    with pytest.raises(ChainRigError, match=r"again\.csv names a scheme"):
        read_labels(tmp_path / "elsewhere" / "again.csv")


def test_the_photo_must_be_the_labelled_one(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, "me.json", ours(image_size=[640, 480])))
    labels.require_image(640, 480)
    with pytest.raises(ChainRigError, match="320 × 240"):
        labels.require_image(320, 240)
    with pytest.raises(ChainRigError, match="EXIF"):
        labels.require_image(480, 640)
    unsized = dataclasses.replace(labels, image_size=None)
    unsized.require_image(640, 480)
    with pytest.raises(ChainRigError, match="outside of this photo"):
        unsized.require_image(15, 15)
    cut_off = dataclasses.replace(unsized, points=unsized.points + torch.tensor([0.0, 80.0]))
    cut_off.require_image(100, 110)  # one of the points is below the edge


def test_which_face_is_labelled(tmp_path: Path) -> None:
    labels = complete(IBUG68)
    middle = labels.points.median(0).values.float()
    around = torch.cat([middle - 50, middle + 40])
    assert labels.face_among(torch.stack([around + 300, around, around - 45])) == 1
    with pytest.raises(ChainRigError, match="no face"):
        labels.face_among(torch.stack([around + 300]))
    assert labels.outer_eye_distance == pytest.approx((27**2 + 18**2) ** 0.5)

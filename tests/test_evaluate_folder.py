"""What lies in a folder: images, labels and truth told apart by what the files hold."""

from pathlib import Path

import pytest
import torch
from evaluated import image, labels_document, write

from pipeline.controls import ControlSpace
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.evaluation.folder import find_items
from pipeline.evaluation.truth import read_truth

LABELS = labels_document(torch.rand(68, 2) * 60)


@pytest.fixture(scope="module")
def space() -> ControlSpace:
    return Rig.load().controls


def test_images_are_found_in_folders_of_folders_but_hidden_ones_and_results(
    space: ControlSpace, tmp_path: Path
) -> None:
    for name in ("b.PNG", "a/c.jpg", ".hidden.png", ".cache/x.png", "out/histogram.png"):
        image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    found = find_items(tmp_path, space, besides=tmp_path / "out")
    assert [item.name for item in found] == ["a/c.jpg", "b.PNG"]


def test_labels_and_truth_are_told_by_what_the_file_holds(space: ControlSpace, tmp_path: Path) -> None:
    for name in "abcde":
        image(tmp_path / f"{name}.png")
    write(tmp_path / "a.json", LABELS)
    write(tmp_path / "b.json", {"jawOpen": 0.5})
    write(tmp_path / "c.json", LABELS)
    write(tmp_path / "c.truth.json", {"controls": {"jawOpen": 0.5}})
    write(tmp_path / "d.json", {"schema": "chainrig.fit/1", "controls": {"jawOpen": 0.1}})
    write(tmp_path / "e.json", {"image": "e.png", "points68_partial": {"30": [3, 4], "36": [1, 1]}})
    found = {item.name[0]: (item.labels, item.truth) for item in find_items(tmp_path, space)}
    assert found["a"] == (tmp_path / "a.json", None) and found["b"] == (None, tmp_path / "b.json")
    assert found["c"] == (tmp_path / "c.json", tmp_path / "c.truth.json")
    assert found["d"] == (None, tmp_path / "d.json") and found["e"] == (tmp_path / "e.json", None)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.truth.json", '{"jawOpen": ', "not JSON"),
        ("a.truth.json", '{"controls": {"jawOpne": 1}}', "Did you mean jawOpen"),
        ("a.truth.json", '{"jawOpen": "wide"}', "jawOpen"),
        ("a.truth.json", '{"controls": {"jawOpen": NaN}}', "jawOpen"),
        ("a.truth.json", '{"controls": [1, 2]}', "names and numbers"),
        ("a.truth.json", '{"controls": {}, "pose": {"rotation_vector_rad": [1]}}', "three numbers"),
        ("a.truth.json", '{"controls": {}, "pose": [1]}', '"pose"'),
        ("a.truth.json", "[1]", "holds no truth"),
        ("a.truth.json", '{"status": "failed"}', "failed"),
        ("a.json", '{"maker": "a camera"}', "neither labels nor"),
        ("a.json", '{"points": {"chin": [1]}}', "chin"),
        ("a.pts", "version: 1", "a.pts"),
    ],
)
def test_a_wrong_file_is_named(
    space: ControlSpace, tmp_path: Path, name: str, content: str, reason: str
) -> None:
    image(tmp_path / "a.png")
    write(tmp_path / name, content)
    with pytest.raises(ChainRigError) as refused:
        find_items(tmp_path, space)
    assert str(tmp_path / name) in str(refused.value) and reason in str(refused.value)


def test_two_files_of_one_kind_are_refused(space: ControlSpace, tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    for name in ("a.json", "a.truth.json"):
        write(tmp_path / name, {"jawOpen": 0.5})
    with pytest.raises(ChainRigError, match="both hold the truth"):
        find_items(tmp_path, space)


def test_truth_holds_all_expressions_and_what_else_it_tells(space: ControlSpace, tmp_path: Path) -> None:
    bare = read_truth(write(tmp_path / "a.json", {"jawOpen": 0.5}), space)
    assert bare.expressions["jawOpen"] == 0.5 and bare.expressions["mouthLeft"] == 0
    assert len(bare.expressions) == 52 and bare.identity is None and bare.rotation_vector is None
    name = space.names[space.groups["identity"]][0]
    whole = {
        "controls": {"jawOpen": 0.5},
        "identity": {name: 0.4},
        "pose": {"rotation_vector_rad": [0, 1, 0]},
    }
    found = read_truth(write(tmp_path / "b.json", whole), space)
    assert found.identity is not None and found.identity[name] == 0.4 and len(found.identity) > 100
    assert found.rotation_vector == (0, 1, 0)
    plain = read_truth(write(tmp_path / "c.json", {"jawOpen": 0.5, name: 0.4, "headRotationY": 1}), space)
    assert plain == found

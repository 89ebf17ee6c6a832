"""Which images a run is about, what they are called, and where their results go."""

import os
from pathlib import Path

import pytest
from batch_of_tests import images

from pipeline.batch import discovery
from pipeline.batch.discovery import find_images, in_shard
from pipeline.batch.plan import outputs_of
from pipeline.errors import ChainRigError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    names = ["b.jpg", "a b/ünï ☺.PNG", "a b/c_neutral.webp", ".hidden/x.jpg", "a b/.x.jpg", "notes.txt"]
    return images(tmp_path / "photos", dict.fromkeys(names, "ok"))


def names(source: object, **options: object) -> list[str]:
    return [image.name for image in find_images(str(source), **options)]  # type: ignore[arg-type]


def test_a_folder_gives_all_images_in_it_but_hidden_ones(photos: Path) -> None:
    assert names(photos) == ["a b/c_neutral.webp", "a b/ünï ☺.PNG", "b.jpg"]
    assert all(image.path.is_file() and image.path.is_absolute() for image in find_images(str(photos)))


def test_filters_and_the_results_own_images(photos: Path) -> None:
    assert names(photos, include=["*_neutral.*", "b.*"]) == ["a b/c_neutral.webp", "b.jpg"]
    assert names(photos, include=["a b/*"], exclude=["*neutral*"]) == ["a b/ünï ☺.PNG"]
    images(photos / "out", {"b/face-0/overlay.png": "ok"})
    assert "out/b/face-0/overlay.png" not in names(photos, besides=photos / "out")
    for out in (photos, photos.parent):
        with pytest.raises(ChainRigError, match="among the images"):
            names(photos, besides=out)


def test_pictures_of_earlier_fits_are_no_photos(photos: Path) -> None:
    images(photos / "run", {".chainrig/lock": "", "b/face-0/overlay.png": "ok", "contact_sheet-1.png": "ok"})
    images(photos / "of b", {"fit.json": "{}", "overlay.png": "ok"})
    images(photos / "shoot", {"overlay.png": "ok"})  # may be anything
    plain = ["a b/c_neutral.webp", "a b/ünï ☺.PNG", "b.jpg", "shoot/overlay.png"]
    assert names(photos) == names(photos / "**/*.*") == plain
    assert names(photos / "run/b/face-0/overlay.png") == ["overlay.png"]  # who names one means it


def test_a_pattern_names_images_from_its_first_free_folder_on(photos: Path, monkeypatch) -> None:
    assert names(photos / "**" / "*.[wj]*p*") == ["a b/c_neutral.webp", "b.jpg"]
    monkeypatch.chdir(photos)
    assert names("a b/*.PNG") == ["ünï ☺.PNG"]
    assert names("b.jpg") == ["b.jpg"]


def test_a_list_keeps_its_paths_and_what_is_missing(photos: Path, tmp_path: Path) -> None:
    elsewhere = images(tmp_path / "other", {"z.jpg": "ok"}) / "z.jpg"
    text = f"# mine\nb.jpg\r\n\n./b.jpg\na b/ünï ☺.PNG\n{elsewhere}\ngone.jpg\n"
    (photos / "list.txt").write_bytes(text.encode())
    assert names(photos / "list.txt") == sorted(["a b/ünï ☺.PNG", "b.jpg", "gone.jpg", str(elsewhere)[1:]])


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    strange = os.fsdecode(b"caf\xe9.jpg")
    images(tmp_path / "photos", {strange: "ok"})
    assert names(tmp_path / "photos") == [strange]
    assert in_shard(strange, (1, 2)) != in_shard(strange, (2, 2))


@pytest.mark.parametrize("source", ["nothing", "nothing/*.jpg", "photos/notes.txt", "photos/blob.bin"])
def test_a_source_without_images_is_one_sentence(photos: Path, monkeypatch, source: str) -> None:
    (photos / "notes.txt").write_text("# none\n")
    (photos / "blob.bin").write_bytes(b"\0\1\n")
    monkeypatch.chdir(photos.parent)
    with pytest.raises(ChainRigError) as refused:
        find_images(source)
    assert source.split("/")[-1] in str(refused.value) and "\n" not in str(refused.value)


def test_shards_divide_the_images_among_them() -> None:
    many = [f"shoot/{i:05d}.jpg" for i in range(3000)]
    shares = [[name for name in many if in_shard(name, (i, 8))] for i in range(1, 9)]
    assert sorted(name for share in shares for name in share) == many
    assert all(300 < len(share) < 450 for share in shares)


def test_a_text_of_something_else_is_no_list(photos: Path) -> None:
    text = "Timecode,BlendShapeCount,EyeBlinkRight\n" + "0," * 400 + "\n"  # longer than a file's name may be
    (photos / "live_link.csv").write_text(text)
    with pytest.raises(ChainRigError, match="names no file that exists; its first line is 'Timecode,"):
        names(photos / "live_link.csv")


def outputs(*found: str) -> list[str]:
    return list(outputs_of([discovery.Image(name, Path(name)) for name in found], {}).values())


def test_every_image_has_a_folder_of_its_own() -> None:
    assert outputs("a.jpg", "b/c.d.png") == ["a", "b/c.d"]
    assert outputs("a.jpg", "a.png", "A.tif") == ["a", "a.png", "A.tif"]
    assert outputs("e\u0301.jpg", "\u00e9.png") == ["e\u0301", "\u00e9.png"]
    assert outputs("summary.csv.jpg", "manifest.jsonl.png") == ["summary.csv.jpg", "manifest.jsonl.png"]
    assert outputs("a.jpg", "a/b.jpg") == ["a", "a/b"]
    assert outputs("a.jpg", "a/face-0/b.jpg") == ["a.jpg", "a/face-0/b"]
    assert outputs("face-0.jpg", "face-1.jpg") == ["face-0", "face-1"]

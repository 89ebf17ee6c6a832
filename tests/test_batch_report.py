"""report.html of a run: what it says, and what a browser without a network makes of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from reported_run import CONTROLS, fit, overlay, run_of

from pipeline.batch import report
from pipeline.batch.manifest import read_manifests
from pipeline.batch.report import write_report

if TYPE_CHECKING:
    from browser import OpenPage

pytest_plugins = ["browser"]

MANY = 5000
ODD = '<img src=x onerror=alert(1)> & "ü".jpg'
SCRIPT = "</script><script>alert(2)</script>"  # a file may be called so, but for the slash
BROKEN = f"It is no image {SCRIPT}."


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "<b>a & b"
    names = ["anna.jpg", "nested/ben 1.png", ODD, "a%2fb#c?.jpg"]
    entries = run_of(folder, names, {"zoe.jpg": BROKEN})
    return write_report(folder, entries)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 5,000 rows, all with the same picture: drawing as many takes longer than a test should."""
    folder = tmp_path_factory.mktemp("runs") / "large"
    names = [f"shoot {number % 7}/{number:05d}.jpg" for number in range(MANY - 50)]
    entries = run_of(folder, names, {f"bad {i}.jpg": "It is empty." for i in range(50)})
    with pytest.MonkeyPatch.context() as patched:
        picture = report.thumbnails(folder, ["shoot 0/00000/face-0"])
        patched.setattr(report, "thumbnails", lambda folder, faces: picture * len(faces))
        return write_report(folder, entries)


def test_the_page_needs_nothing_but_the_runs_own_files(small: Path) -> None:
    page = small.read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:|summary\.csv)""", page) and "url(" not in page
    assert "http" not in page


def test_no_name_becomes_markup(small: Path) -> None:
    page = small.read_text()
    assert "<img src=x" not in page and SCRIPT not in page and "<b>a" not in page
    assert "&lt;b&gt;a &amp; b" in page


def test_a_page_of_5000_faces_stays_small(large: Path) -> None:
    assert large.stat().st_size < 40e6


def test_beyond_the_most_the_worst_are_kept_and_the_page_says_so(tmp_path: Path) -> None:
    entries = run_of(
        tmp_path / "run", [f"{i}.jpg" for i in range(10)], {"x.jpg": "Empty.", "y.jpg": "Empty."}
    )
    page = write_report(tmp_path / "run", entries, most=1).read_text()
    worst = max(entries[:10], key=lambda one: one.faces[0].residual_percent_iod or 0)
    shown = re.findall(r'"link": "([^"]+)"', page)
    assert shown == ["x.jpg-failed", f"{worst.output}/face-0"]
    assert "10 more are not on this page" in page


def test_pictures_are_drawn_once_and_again_where_the_fit_is_new(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    entries = run_of(folder, ["a.jpg", "b.jpg"])
    first = write_report(folder, entries).read_text()
    kept = sorted((folder / ".chainrig" / "thumbnails").iterdir())
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 2 and write_report(folder, entries).read_text() == first
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    changed = folder / "a" / "face-0" / "overlay.png"
    changed.unlink()
    overlay().rotate(180).save(changed)
    assert write_report(folder, entries).read_text() != first
    assert len(list((folder / ".chainrig" / "thumbnails").iterdir())) == 2


def test_a_face_whose_files_are_gone_or_broken_has_its_row(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_of(folder, ["a.jpg", "b.jpg"])
    (folder / "a" / "face-0" / "fit.json").unlink()
    (folder / "b" / "face-0" / "overlay.png").unlink()
    (folder / "b" / "face-0" / "overlay.png").write_bytes(b"no png")
    page = write_report(folder, list(read_manifests(folder).values())).read_text()
    assert page.count('"picture": ""') == 1 and '"status": "missing"' in page


def test_a_run_without_a_face_says_so(tmp_path: Path) -> None:
    page = write_report(tmp_path / "run", run_of(tmp_path / "run", [], {"x.jpg": "Empty."})).read_text()
    assert "median" not in page and "Empty." in page
    assert write_report(tmp_path / "run", []).is_file()


def test_the_numbers_of_a_fit_are_the_summarys(small: Path) -> None:
    document = fit(1, 0.5, dict.fromkeys(CONTROLS, 0.1))
    assert document["residual"]["final_percent_iod"] == 0.5  # what the made-up run stands for
    page = small.read_text()
    assert all(f"<option>{name}</option>" in page for name in (*CONTROLS, "yaw_deg", "age"))


@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_the_worst_first_and_opens_its_files(
    small: Path, open_page: OpenPage, dark: bool
) -> None:
    page = open_page(small, dark=dark)
    rows = page.locator("#faces > li")
    assert rows.count() == 5 and "zoe.jpg" in rows.nth(0).inner_text()
    assert BROKEN in rows.nth(0).inner_text()
    residuals = [
        float(text.split()[0]) for text in page.locator(".residual").all_inner_texts() if text.strip()
    ]
    assert residuals == sorted(residuals, reverse=True) and len(residuals) == 4
    assert page.locator(".who", has_text=ODD).count() == 1
    for link in page.locator("#faces a").all():
        target = Path(unquote(urlsplit(link.evaluate("a => a.href")).path))
        assert target.name == "controls.csv" or target.is_file(), target
    colour = page.locator(".picture img").first.evaluate(
        """async (image) => {
             await image.decode();
             const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
             canvas.drawImage(image, 0, 0);
             return [56, 168].map((x) => [...canvas.getImageData(x, 56, 1, 1).data]);
           }"""
    )
    assert colour[0][2] > 150 > colour[0][0] and colour[1][0] > 150 > colour[1][2]  # photo, then rig
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 200) == dark


def test_bridged_frames_are_no_failures(tmp_path: Path, open_page: OpenPage) -> None:
    names, blank = ["f_0.jpg", "f_2.jpg"], {"f_1.jpg": "There is no face in it."}
    entries = run_of(tmp_path / "take", names, {"f_3.jpg": "It is empty."}, bridged=blank)
    page = open_page(write_report(tmp_path / "take", entries))
    facts = page.locator(".facts").inner_text().lower().split()
    assert [facts[facts.index(word) + 1] for word in ("fitted", "failed", "bridged")] == ["2", "1", "1"]
    page.locator("#status").select_option("bridged")
    (row,) = page.locator("#faces > li:visible").all()
    assert "f_1.jpg" in row.inner_text() and "There is no face in it." in row.inner_text()
    assert "jawOpen 0.50" in row.inner_text() and "between its neighbours" in row.inner_text()
    links = [Path(unquote(urlsplit(link.evaluate("a => a.href")).path)) for link in row.locator("a").all()]
    assert {link.name for link in links} == {"fit.json", "controls.csv"}
    assert all(link.is_file() for link in links)


def test_5000_faces_sort_and_filter(large: Path, open_page: OpenPage) -> None:
    page = open_page(large)
    assert page.locator("#count").inner_text() == f"{MANY} of {MANY}"
    assert "bad" in page.locator("#faces > li").first.inner_text()
    page.locator("#status").select_option("converged")
    assert page.locator("#count").inner_text() == f"{MANY - 50} of {MANY}"
    page.locator("#sort").select_option("jawOpen")
    page.locator("#order").select_option("low first")
    page.wait_for_function("document.querySelectorAll('.asked b').length > 5")
    shown = page.evaluate("[...document.querySelectorAll('.asked b')].map((each) => +each.textContent)")
    assert shown == sorted(shown) and shown[0] < 0.01
    page.locator("#column").select_option("mouthSmileLeft")
    page.locator("#from").fill("0.9")
    some = int(page.locator("#count").inner_text().split()[0])
    assert 300 < some < 700
    page.locator("#search").fill("SHOOT 3/")
    assert 0 < int(page.locator("#count").inner_text().split()[0]) < some / 4
    page.locator("#search").fill("nobody")
    assert page.locator("#none").is_visible()
    page.get_by_role("button", name="Reset").click()
    page.get_by_text(f"{MANY} of {MANY}").wait_for()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function("document.querySelector('#faces').lastChild.querySelector('img')")


def test_the_keyboard_reaches_every_face(small: Path, open_page: OpenPage) -> None:
    page = open_page(small)
    page.locator("#search").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.who') !== null"):
            break
    seen = set()
    for _ in range(4):
        seen.add(page.evaluate("document.activeElement.textContent"))
        page.keyboard.press("ArrowDown")
    assert len(seen) == 4
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.closest('li').nextElementSibling !== null")


def test_a_phone_shows_it_without_scrolling_sideways(small: Path, open_page: OpenPage) -> None:
    page = open_page(small, width=390, height=844)
    page.locator(".picture img").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0

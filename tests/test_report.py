"""report.html: in words, and opened in a browser that has no network."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from inspected_face import NAMES, inspected_face

from pipeline.inspection.animation import animate
from pipeline.inspection.cards import CardPainter, card_name
from pipeline.inspection.findings import Badge, Findings
from pipeline.inspection.report import write_report

if TYPE_CHECKING:
    from browser import OpenPage

pytest_plugins = ["browser"]

ODD = '<b>&"jaw"</b>'  # a control may be called anything


@pytest.fixture(scope="module")
def findings() -> Findings:
    return inspected_face(names={"jawOpen": ODD})


@pytest.fixture(scope="module")
def cards(findings: Findings) -> dict[str, bytes]:
    painter = CardPainter(findings)
    return {name: painter.draw(index) for index, name in enumerate(findings.columns.names)}


@pytest.fixture(scope="module")
def page(findings: Findings, cards: dict[str, bytes]) -> str:
    picture = (findings.view.picture * 255).byte()
    animations = {0: animate(findings.observability.weakest[0], {}, lambda controls: picture)}
    return write_report(findings, animations, cards)


def words(html: str) -> str:
    """What a reader reads."""
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", html, flags=re.S)
    return re.sub(r"\s+", " ", text.replace("&nbsp;", " ").replace("&#39;", "'"))


def test_the_summary_names_what_is_determined_worst_and_why(page):
    summary = words(page[page.index('id="short"') : page.index('id="controls"')])
    assert "tongueOut cannot be seen here." in summary
    assert "browInnerUp : the hair hides it." in summary or "browInnerUp: the hair hides it." in summary
    assert "The full range of tongueOut moves no landmark by 0.2 px." in summary
    assert "1 of 2 checks failed, in detect (AD against finite difference: 3e-04 off" in summary
    assert re.search("ask for more [^.]*headTranslationX", summary)  # all landmarks are too far to the right


def test_regions_are_told_apart_by_which_way_they_pull(findings):
    attribution = findings.attribution
    assert attribution is not None
    terms = torch.zeros_like(attribution.terms)
    mouth = torch.tensor([region == "mouth" for region in attribution.regions])
    terms[mouth, 1], terms[~mouth, 1], terms[4, 1] = 0.5, -0.1, 30.0
    page = write_report(replace(findings, attribution=replace(attribution, terms=terms)))
    asked = page[page.index('id="asked"') : page.index('id="trust"')]
    assert 'aria-label="down: left brow; up: mouth"' in asked
    assert re.search(r"mouthSmileLeft\s+more\s+4 \(mouth, up\)", words(asked))
    assert "browInnerUp" not in asked  # nobody asks for it


def test_the_table_tells_value_doubt_and_what_the_photo_told(page):
    rows = re.findall(r"<tr>\s*<th scope=\"row\">.*?</tr>", page[page.index('id="controls"') :], flags=re.S)
    row = {name: words(each) for name, each in zip(NAMES, rows, strict=False)}
    assert "0.200 ± 0.050" in row["jawOpen"] and "the photo tells" in row["jawOpen"]
    assert "partly" in row["mouthSmileLeft"] and "at its lower limit" in row["mouthSmileLeft"]
    assert "little" in row["browInnerUp"] and "2.2 px" in row["browInnerUp"]
    assert "not seen" in row["tongueOut"] and "dead, because what it moves is hidden" in row["tongueOut"]
    assert " m" in row["headTranslationX"] and "the photo tells" in row["headTranslationX"]


def test_names_are_escaped_everywhere(page, findings):
    assert ODD not in page and "&lt;b&gt;&amp;" in page
    assert f'id="card-{card_name(ODD)}"' in page and f'href="#card-{card_name(ODD)}"' in page


def test_the_report_needs_no_other_file(page):
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "url(" not in page and "@import" not in page and len(page) < 12e6


def test_without_a_photo_the_sections_that_need_one_say_so():
    page = write_report(inspected_face(photo=False))
    text = words(page)
    assert "No photo was given" in text
    assert "there is no gradient to follow" in text
    assert "no landmark asks for anything" in text
    assert "% IOD apart" not in text and "The photo through the detector" not in text


def test_derivatives_that_pass_are_said_to_be_trusted(findings):
    badge = Badge("deform", "adjoint identity", 1e-15, 1e-9)
    assert "Yes: all 2 checks passed." in words(write_report(replace(findings, badges=(badge, badge))))
    lost = replace(findings, badges=(Badge("chain", "adjoint identity", float("nan"), 1e-9),))
    assert "failed" in words(write_report(lost)) and "unknown" in words(write_report(lost))


def test_numbers_that_are_not_finite_do_not_break_the_page(findings):
    seen = findings.observability
    broken = replace(
        seen, full_range_px=seen.full_range_px * float("nan"), singular_values=seen.sd * float("nan")
    )
    page = write_report(replace(findings, observability=broken))
    assert "unknown px" in words(page) and '="nan"' not in page and ": nan%" not in page


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_without_a_network_shows_all_of_it(
    page: str, tmp_path: Path, open_page: OpenPage, width: int
) -> None:
    eager = page.replace(' loading="lazy"', "")  # else pictures further down would not be loaded yet
    (tmp_path / "report.html").write_text(eager)
    shown = open_page(tmp_path / "report.html", width=width)
    root = "document.documentElement"
    assert shown.evaluate(f"{root}.scrollWidth - {root}.clientWidth") <= 0
    images = shown.locator("img").evaluate_all(
        "images => images.map((image) => [image.naturalWidth, image.alt])"
    )
    assert len(images) == len(NAMES) + 5 and all(wide > 0 and alt for wide, alt in images)
    assert shown.locator(".card img").count() == len(NAMES)
    dangling = "links => links.filter((a) => !document.getElementById(a.hash.slice(1))).length"
    assert shown.locator("a[href^='#']").evaluate_all(dangling) == 0
    shown.locator("table.sortable th button").nth(1).click()
    keys = "rows => rows.map((row) => +row.cells[1].dataset.key)"
    values = shown.locator("table.sortable tbody tr").evaluate_all(keys)
    assert len(values) == len(NAMES) and values == sorted(values)
    shown.locator("#filter").fill("TONGUE")
    names = "cards => cards.map((card) => card.dataset.name)"
    assert shown.locator(".card:not([hidden])").evaluate_all(names) == ["tongueOut"]
    shown.locator("#filter").fill("")
    assert shown.locator("#count").inner_text() == f"{len(NAMES)} of {len(NAMES)}"

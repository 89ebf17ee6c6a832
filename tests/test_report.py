"""report.html: in words, and opened in a browser that has no network."""

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from inspected_face import NAMES, inspected_face

from pipeline.inspection.animation import animate
from pipeline.inspection.cards import CardPainter, card_name
from pipeline.inspection.findings import Badge, Findings
from pipeline.inspection.report import write_report

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
    assert "1 of 2 checks failed, in detect (AD against finite difference)" in summary
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


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """
<script>
window.addEventListener("load", () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  all("table.sortable th button")[1].click();
  const sorted = all("table.sortable tbody tr").map((row) => +row.cells[1].dataset.key);
  const filter = document.getElementById("filter");
  const type = (text) => { filter.value = text; filter.dispatchEvent(new Event("input")); };
  type("TONGUE");
  const filtered = all(".card:not([hidden])").map((card) => card.dataset.name);
  type("");
  const root = document.documentElement;
  console.log("PROBE " + btoa(JSON.stringify({
    sorted, filtered,
    images: all("img").map((image) => image.naturalWidth),
    unnamed: all("img").filter((image) => !image.alt).length,
    cards: all(".card img").length,
    dangling: all("a[href^='#']").filter((a) => !document.getElementById(a.hash.slice(1))).length,
    overflow: root.scrollWidth - root.clientWidth,
    width: window.innerWidth,
    count: document.getElementById("count").textContent,
  })));
});
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="There is no Chromium or Chrome here to open the page with.")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_without_a_network_shows_all_of_it(page, tmp_path: Path, width):
    eager = page.replace(' loading="lazy"', "")  # else pictures further down would not be loaded yet
    (tmp_path / "report.html").write_text(eager + PROBE)
    window = tmp_path / "window.html"  # no window is as narrow as a phone, but a frame is
    window.write_text(
        f'<iframe src="report.html" style="width: {width}px; height: 900px; border: 0"></iframe>'
    )
    assert BROWSER is not None
    options = [
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"),
        "--window-size=1400,1000",
    ]
    done = subprocess.run([BROWSER, *options, window.as_uri()], capture_output=True, text=True, timeout=120)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert len(console) == 1, console or done.stderr  # nothing but the probe
    found = re.search(r"PROBE ([\w+/=]+)", console[0])
    assert found
    result = json.loads(base64.b64decode(found[1]))
    assert result["width"] == width and result["overflow"] <= 0
    assert result["cards"] == len(NAMES) and result["dangling"] == 0 and result["unnamed"] == 0
    assert len(result["images"]) == len(NAMES) + 5 and all(size > 0 for size in result["images"])
    assert result["sorted"] == sorted(result["sorted"])
    assert result["filtered"] == ["tongueOut"] and result["count"] == f"{len(NAMES)} of {len(NAMES)}"

"""Control cards: each panel shows what the columns say, in the right place, direction and size."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from inspected_face import DARKER, NAMES, SIZE, inspected_face
from PIL import Image

from pipeline.inspection import cards
from pipeline.inspection.cards import CardPainter, card_name, draw_card, magnification
from pipeline.inspection.colours import CHANGE, HEAT
from pipeline.inspection.findings import Findings
from pipeline.inspection.wording import figure, measured
from pipeline.render.camera import Camera


@pytest.fixture(scope="module")
def findings() -> Findings:
    return inspected_face()


@pytest.fixture(scope="module")
def painter(findings: Findings) -> CardPainter:
    return CardPainter(findings)


def panel(card: bytes, column: int) -> np.ndarray:
    """`(PANEL, PANEL, 3)` of a card, int."""
    left, top = cards.GAP + column * (cards.PANEL + cards.GAP), cards.TITLE + cards.CAPTION
    picture = Image.open(BytesIO(card)).convert("RGB")
    return np.asarray(picture.crop((left, top, left + cards.PANEL, top + cards.PANEL))).astype(int)


def on_panel(findings: Findings, points: torch.Tensor) -> list[int]:
    """(column, row) of the mean of points `(N, 3)` in space."""
    seen = findings.view.camera.project(points).mean(0) * cards.PANEL / SIZE
    return seen.round().int().tolist()


def warmth(pixels: np.ndarray) -> np.ndarray:
    """How far towards the hot end of the scale a pixel is: red over blue."""
    return pixels[..., 0] - pixels[..., 2]


def test_the_mesh_is_hot_where_vertices_move_and_grey_where_they_do_not(findings, painter):
    shown = panel(painter.draw(NAMES.index("jawOpen")), 0)
    vertices, moved = findings.view.vertices, findings.columns.vertices[0].norm(dim=-1)
    chin = vertices[(moved > 0.9 * moved.max()) & (vertices[:, 2] > vertices[:, 2].median())]
    column, row = on_panel(findings, chin)
    assert warmth(shown[row - 3 : row + 3, column - 3 : column + 3]).mean() > 60
    forehead = shown[cards.PANEL // 5, cards.PANEL // 2 - 10 : cards.PANEL // 2 + 10]
    assert abs(warmth(forehead)).max() < 15 and forehead.min() > 50  # clay, not paper
    assert abs(shown[2, 2] - np.array(cards.PAPER)).max() <= 1  # beside the head


def test_the_scale_of_the_mesh_is_its_largest_motion(findings, painter):
    rigid = panel(painter.draw(NAMES.index("headTranslationX")), 0)
    middle = rigid[cards.PANEL // 2, cards.PANEL // 2]  # everything moves by 10 mm: all of it at the end
    assert np.abs(middle - HEAT[-1] * 0.95).max() < 40
    smaller = replace(findings, steps=dict.fromkeys(findings.columns.names, 1e-3))
    again = panel(CardPainter(smaller).draw(NAMES.index("headTranslationX")), 0)
    assert np.abs(again - rigid).max() <= 1  # a card's scale is its own


def test_pixels_that_darken_are_blue_and_those_that_brighten_red(painter):
    shown = panel(painter.draw(0), 1)
    upper, lower = shown[20:-20][: cards.PANEL // 2 - 30], shown[cards.PANEL // 2 + 10 : -20]
    assert (warmth(upper) < -60).all() and (warmth(lower) > 60).all()
    share = 0.1 * DARKER * 255 / 15  # 10.2 levels on a scale that ends at 15
    for part, sign in ((upper, -1), (lower, 1)):
        assert np.abs(part - CHANGE[round((1 + sign * share) * 127.5)]).max() < 4
    still = panel(painter.draw(1), 1)
    assert np.ptp(still, axis=-1).max() <= 2  # grey: none of its pixels changes


def test_arrows_go_where_landmarks_go_and_say_how_much_longer_they_are(findings):
    shift = torch.zeros_like(findings.columns.landmarks)
    shift[0, 4] = torch.tensor([40.0, 0, 0])  # px per unit: 4 px for the card's step, to the right
    one = replace(findings, columns=replace(findings.columns, landmarks=shift))
    shown = panel(CardPainter(one).draw(0), 2)
    yellow = (warmth(shown) > 50).nonzero()
    scale = cards.PANEL / SIZE
    x, y = (findings.view.landmarks[4, :2] * scale).tolist()
    length = 4 * scale * magnification(4 * scale)
    assert abs(yellow[1].max() - (x + length)) < 3 and abs(yellow[1].min() - x) < 3
    assert abs(yellow[0].mean() - y) < 2
    dots = (shown[..., 2] > shown[..., 0] + 30).nonzero()
    assert len(dots[0]) > 300  # the others stay: dots


@pytest.mark.parametrize(("longest", "times"), [(0.1, 100), (3.0, 10), (10.0, 2), (300.0, 1), (0.0, 100)])
def test_arrows_are_as_long_as_fits(longest, times):
    assert magnification(longest) == times


def test_a_control_that_does_nothing_has_a_card_all_the_same(findings):
    columns = findings.columns
    still = replace(
        columns,
        vertices=torch.zeros_like(columns.vertices),
        pixels=torch.zeros_like(columns.pixels),
        landmarks=torch.zeros_like(columns.landmarks),
    )
    card = draw_card(replace(findings, columns=still), 0)
    assert abs(warmth(panel(card, 0))).max() < 15
    assert not (np.abs(panel(card, 2) - np.array(cards.ARROW)).sum(-1) < 60).any()


@pytest.mark.parametrize("photo", [True, False])
def test_landmarks_are_shown_on_the_photo_where_there_is_one(photo):
    found = inspected_face(photo)
    shown = panel(draw_card(found, 3), 2)  # nothing moves much
    top, bottom = shown[:20].mean(), shown[-20:].mean()
    assert (top > bottom) == photo  # the photo of the example is the picture upside down


def test_cards_are_drawn_for_views_that_are_not_square(findings):
    camera = findings.view.camera
    wide = Camera(camera.focal_px, camera.principal_point_px, camera.view, (SIZE // 2, SIZE))
    picture = findings.view.picture[: SIZE // 2]
    view = replace(findings.view, camera=wide, picture=picture, photo=picture)
    columns = replace(findings.columns, pixels=findings.columns.pixels[:, : SIZE // 2])
    card = Image.open(BytesIO(draw_card(replace(findings, view=view, columns=columns), 0)))
    assert card.width == 3 * cards.PANEL + 4 * cards.GAP
    assert card.height == cards.TITLE + cards.CAPTION + cards.PANEL // 2 + cards.LEGEND


def test_long_names_are_cut_before_they_meet_the_words_beside():
    found = inspected_face(names={"jawOpen": "a name that is so long that nobody would read it " * 3})
    card = Image.open(BytesIO(draw_card(found, 0))).convert("L")
    title = np.asarray(card)[8 : cards.TITLE - 6] > 90
    gaps = np.diff(title.any(0).nonzero()[0])
    assert gaps.max() > 15  # between the value and what the step does


def test_file_names_of_cards_are_safe_and_differ():
    assert card_name("jawOpen") == "jawOpen"
    odd = ["../../etc/passwd", "a/b", "a:b", "a b", "ä", "", "con.", "日本", "x" * 300]
    names = [card_name(name) for name in odd]
    assert len(set(names)) == len(odd)
    assert all(name and len(name) < 80 and set(name) <= set(SAFE) for name in names)


SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.012"), (1234, "1200"), (9.96, "10"), (0.5, "0.50"), (0, "0"), (3.2e-16, "3.2e-16")]
    + [(float("inf"), "unlimited"), (float("nan"), "unknown"), (-2.55, "-2.5")],
)
def test_figures_have_two_digits_that_count(value, text):
    assert figure(value) == text


def test_values_are_rounded_as_their_doubt():
    assert measured(0.32412, 0.051) == "0.324 ± 0.051"
    assert measured(-1.2, 0.0123, "m") == "-1.200 ± 0.012 m"
    assert measured(-0.0001, 0.2) == "0.00 ± 0.20"
    assert measured(0.5, float("inf")) == "0.50"

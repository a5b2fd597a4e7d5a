"""The pages that are files, on a telephone and on paper: no wider than it, no number broken, plots in their rows."""

from pathlib import Path

import pytest

from tests.pictures import test_run_page, test_score_page
from tomoseg.checks.findings import CheckReport, Finding
from tomoseg.checks.holdings import Holdings, StructureHolding
from tomoseg.config import TrainConfig
from tomoseg.evaluation.ranking import rank
from tomoseg.pictures.check_page import write_check_page
from tomoseg.pictures.run_page import write_run_page
from tomoseg.pictures.score_page import write_score_page

LONG = "a_name_without_any_place_to_break_it_" * 3
OF_TEXTS = """found => found.map(one => {
  const range = document.createRange();
  range.selectNodeContents(one);
  const box = range.getBoundingClientRect();
  return { lines: range.getClientRects().length, middle: box.top + box.height / 2 };
})"""


def checked(path: Path) -> None:
    masks = {name: StructureHolding(112, 10, (1234.0, 1532.0), 1391.0) for name in ("parotid_gland_left", "liver")}
    holdings = Holdings(112, masks, {LONG: ("esophagus",)}, ((0.5, 1.25),) * 3)
    findings = [Finding.warning("gap", LONG, LONG, "muscle_of_a_long_name")]
    write_check_page(CheckReport(Path(LONG), 112, 224, findings, (LONG,), holdings), LONG, path, lang="fr")


def scored(path: Path) -> None:
    scores = test_score_page.scores()
    ranking = rank(scores, test_score_page.LABELS)
    page = test_score_page.page(warnings=(LONG,), failed={LONG: "no prediction"}, ranking=ranking)
    write_score_page(page, path, "fr")


def trained(path: Path) -> None:
    folder = path.parent / LONG
    history, labels = test_run_page.HISTORY, test_run_page.LABELS
    write_run_page(history, labels, TrainConfig(), {"dataset": LONG}, folder / "none.png", folder / "page")
    (folder / "page").rename(path)


@pytest.fixture
def page(chromium, tmp_path, request):
    (write, width) = request.param
    write(tmp_path / "page.html")
    page = chromium.new_page(viewport={"width": width, "height": 800})
    page.goto((tmp_path / "page.html").as_uri())
    yield page
    page.close()


ALL = [(write, width) for write in (checked, scored, trained) for width in (400, 800)]


@pytest.mark.parametrize("page", ALL, indirect=True, ids=lambda one: f"{one[0].__name__}-{one[1]}")
def test_nothing_is_wider_than_the_window(page):
    assert page.evaluate("document.scrollingElement.scrollWidth") == page.viewport_size["width"]


@pytest.mark.parametrize("page", [(checked, 400)], indirect=True, ids=["checked"])
def test_no_number_is_broken(page):
    numbers = page.locator(".held td:not(:first-child)").evaluate_all(OF_TEXTS)
    assert len(numbers) == 10
    assert {number["lines"] for number in numbers} == {1}


@pytest.mark.parametrize("page", [(scored, 1200)], indirect=True, ids=["scored"])
def test_a_plot_is_level_with_its_row(page):
    for media in ("screen", "print"):
        page.emulate_media(media=media)
        for table in (".ranking", ".structures:not(.ranking)"):
            row = page.locator(f"{table} tr:not(.group):has(svg)").first
            box = row.locator("svg").bounding_box()
            (name,) = row.locator("td").first.evaluate_all(OF_TEXTS)
            assert box["y"] + box["height"] / 2 == pytest.approx(name["middle"], abs=1.5)

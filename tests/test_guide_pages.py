"""The two pages on the guide keep to what was measured, and say the same in English and in French."""

import json
import re
from pathlib import Path
from statistics import mean

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
ENGLISH, FRENCH = DOCS / "concepts" / "the-guide.md", DOCS / "fr" / "le-guide.md"
RAW = [json.loads(line) for line in (DOCS / "ablation.jsonl").read_text(encoding="utf-8").splitlines()]
MEASURED = {row["row"]: row for row in RAW if "dice" in row}
CITED = re.compile(r"(?<!\*)\*([^*|]+)\* (0\.\d+)(?: \((0\.\d+)\))?")
"""The name of a row in italics, its Dice, and in brackets its Dice without the esophagus."""


def text_of(page: Path) -> str:
    return re.sub(r"(?<=\d),(?=\d)", ".", page.read_text(encoding="utf-8"))


def table_rows(page: Path) -> list[str]:
    return [line for line in text_of(page).splitlines() if line.startswith("|")]


@pytest.mark.parametrize("page", [ENGLISH, FRENCH], ids=["en", "fr"])
def test_the_rows_that_it_cites_have_these_figures(page):
    cited = CITED.findall(text_of(page))
    assert len(cited) > 50
    wrong = []
    for name, dice, rest in cited:
        row = MEASURED[name]
        found = [(dice, row["dice"])]
        if rest:
            others = [value for structure, value in row["structures"].items() if structure != "esophagus"]
            found.append((rest, mean(others)))
        wrong += [
            f"{name}: {said} for {exact:.5f}" for said, exact in found if float(said) != round(exact, len(said) - 2)
        ]
    assert wrong == []


def test_both_languages_have_the_same_figures_and_links():
    english, french = table_rows(ENGLISH), table_rows(FRENCH)
    assert len(english) == len(french)
    for ours, theirs in zip(english, french, strict=True):
        figures, leads = ([sorted(found(line)) for line in (ours, theirs)] for found in (_figures, _leads))
        assert figures[0] == figures[1], ours
        assert leads[0] == leads[1], ours


def _figures(line: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?(?:e-\d+)?", re.sub(r"\]\([^)]*\)", "]", line))


def _leads(line: str) -> list[str]:
    """Links to other pages and to files, without the folders on the way."""
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", line) if not target.startswith("#")]
    return [target.replace("../concepts/", "").replace("../", "") for target in targets]

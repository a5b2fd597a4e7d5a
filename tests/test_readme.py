"""The README says the same in English and in French, and of the others what was measured."""

import re
from pathlib import Path

from tests.test_examples import blocks
from tests.test_results_page import figures, section

PROJECT = Path(__file__).resolve().parent.parent
ENGLISH, FRENCH = "README.md", "README.fr.md"


def text_of(page: str) -> str:
    """With points in decimal numbers, and units, as in English."""
    text = re.sub(r"(?<=\d),(?=\d)", ".", (PROJECT / page).read_text(encoding="utf-8"))
    return re.sub(r"\b([GM])o\b", r"\1B", text)


def commands(page: str) -> list[str]:
    """What the blocks have to be typed, without comments."""
    lines = "".join(re.findall(r"^```sh\n(.*?)^```$", text_of(page), re.M | re.S)).splitlines()
    return [line.partition("#")[0].strip() for line in lines]


def rows(page: str) -> list[str]:
    return [line for line in text_of(page).splitlines() if line.startswith("|")]


def in_french(picture: str) -> str:
    """The picture with French captions where there is one."""
    french = picture.replace(".png", "_fr.png")
    return french if (PROJECT / french).exists() else picture


def test_both_languages_have_the_same_commands():
    assert "make demo" in commands(ENGLISH)
    assert commands(FRENCH) == commands(ENGLISH)
    assert blocks(FRENCH) == blocks(ENGLISH)
    assert sorted(re.findall(r"`(pip .*?)`", text_of(FRENCH))) == sorted(re.findall(r"`(pip .*?)`", text_of(ENGLISH)))


def test_both_languages_have_the_same_figures_and_pictures():
    assert len(rows(ENGLISH)) == len(rows(FRENCH)) > 10
    for ours, theirs in zip(rows(ENGLISH), rows(FRENCH), strict=True):
        assert re.findall(r"[\d.]+ ?(?:s\b|[GM]B)?", ours) == re.findall(r"[\d.]+ ?(?:s\b|[GM]B)?", theirs)
    assert re.findall(r"0\.\d+", text_of(FRENCH)) == re.findall(r"0\.\d+", text_of(ENGLISH))
    theirs, ours = (re.findall(r"\((docs/pictures/.*?)\)", text_of(page)) for page in (FRENCH, ENGLISH))
    assert theirs == [in_french(picture) for picture in ours]
    assert theirs != ours


def test_each_leads_to_the_other():
    assert f"]({FRENCH})" in text_of(ENGLISH)
    assert f"]({ENGLISH})" in text_of(FRENCH)


def test_seconds_and_memory_beside_others_are_those_of_the_notebook():
    there = figures(section(PROJECT / "benchmarks" / "notebook.md", "imported-networks-of-real-size"))
    ours = [row.split("|") for row in rows(ENGLISH) if row.startswith(("| TotalS", "| nnU", "| tomoseg,"))]
    measured = {figure for row in ours for figure in figures(" ".join(row[2:4]))}
    assert len(measured) == 12
    assert measured - there == set()

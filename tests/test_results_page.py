"""The page of results says what the notebook says: each line leads to a section that has its figures."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results.md"
ROW = re.compile(r"^\| \[.+?\]\(([^)#]+)(?:#([^)]+))?\)(.*?) \| (.+?) \| (.*?) \| (.*?) \|$")
LINES = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| [")]


def anchor(heading: str) -> str:
    """As the site makes it of a heading."""
    plain = re.sub(r"[`*']", "", heading).lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain))


def section(page: Path, wanted: str | None) -> str:
    """What is below a heading, with the sections within it; all of the page if no heading is named."""
    text = page.read_text(encoding="utf-8")
    if wanted is None:
        return text
    parts = re.split(r"^(#+) (.+)$", text, flags=re.M)
    heads = [(len(parts[at]), anchor(parts[at + 1]), at) for at in range(1, len(parts), 3)]
    depth, _, begin = next(head for head in heads if head[1] == wanted)
    after = (at for level, _, at in heads if at > begin and level <= depth)
    return "".join(parts[begin : next(after, len(parts))])


def figures(text: str) -> set[str]:
    return set(re.findall(r"(?<!\w)\d+(?:[.,]\d+)*", text))


@pytest.mark.parametrize("line", LINES, ids=lambda line: re.sub(r"\W+", "-", line[3:60]))
def test_a_line_has_the_figures_of_the_section_it_leads_to(line):
    page, heading, rest, figure, machine, command = ROW.match(line).groups()
    assert machine, line
    assert command, line
    there = figures(section((PAGE.parent / page).resolve(), heading))
    assert figures(f"{rest} {figure}") - there == set()


def test_the_page_is_found_whole():
    assert len(LINES) > 60
    assert figures("0.681 to 0.746; 51,604; 10 %") == {"0.681", "0.746", "51,604", "10"}
    assert "TotalSegmentator" in section(PAGE, "imported-networks")
    assert "Serving" not in section(PAGE, "imported-networks")

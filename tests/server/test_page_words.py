"""What the page says of refusals in French is of sentences that the server really says."""

import ast
import json
import re
from pathlib import Path

import pytest

import tomoseg

CATALOGUE = Path(__file__).resolve().parents[2] / "web" / "src" / "refusals.json"


@pytest.fixture(scope="module")
def sentences():
    """All texts of the package's source, each value in them a 7."""
    found = []
    for path in Path(tomoseg.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "7" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_each_refusal_that_the_page_translates_is_one_of_the_servers(sentences):
    if not CATALOGUE.is_file():
        pytest.skip("needs the sources of the page")
    known = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    assert len(known) > 20
    for said, french in known:
        assert any(re.search(said, one) for one in sentences), said
        groups = re.compile(said).groups
        assert {int(n) for n in re.findall(r"{(\d)}", french)} <= set(range(1, groups + 1)), said

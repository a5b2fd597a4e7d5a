"""No words of English are printed beside the catalogue."""

import ast
import re
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "tomoseg"
PRINTING = [
    *sorted((SRC / "terminal").glob("*.py")),
    *sorted((SRC / "cli").glob("*.py")),
    SRC / "workflows" / "demo.py",
]
COMPOSING = {"others", "mistaken", "reading", "refused", "stores", "streams", "__init__"}
PRINTING = [path for path in PRINTING if path.stem not in COMPOSING]

TOLD = {
    "say",
    "say_many",
    "later",
    "all_later",
    "sentence",
    "warn_all",
    "error",
    "on_stage",
    "arg",
}
"""What takes a text of the catalogue, or a sentence that is told by it."""

PRINTED = {"print", "table", "add_task", "progress"}

ALIKE = {"Dice", "SNOMED", "min", "DICOM", "tomoseg"}
"""Words that are the same in every language."""

WORD = re.compile(r"(?<![-\w/.*])[A-Za-z]{3,}(?![\w*/]|\.\w)")


def english_in(code):
    """The words of texts that are composed of parts or printed and are in no call that the catalogue knows."""
    return [word for text in _texts(ast.parse(code), printed=False) for word in WORD.findall(text) if word not in ALIKE]


def _texts(node, *, printed):
    match node:
        case ast.Call():
            yield from _texts_of_call(node, printed)
        case ast.JoinedStr():
            yield from _texts_composed(node)
        case ast.Dict(values=children):
            yield from (text for child in children for text in _texts(child, printed=printed))
        case ast.Constant(value=str() as text) if printed:
            yield text
        case ast.Expr(value=ast.Constant()) | ast.Subscript() | ast.Compare():
            return  # a docstring, and names by which something is found
        case _:
            yield from (text for child in ast.iter_child_nodes(node) for text in _texts(child, printed=printed))


def _texts_of_call(call, printed):
    called = ast.unparse(call.func).split(".")[-1]
    if not (called in TOLD or called.endswith("Error")):
        printed = printed or called in PRINTED
        yield from (text for arg in call.args for text in _texts(arg, printed=printed))


def _texts_composed(joined):
    text = "".join(str(one.value) if isinstance(one, ast.Constant) else "0" for one in joined.values)
    if not text.startswith("tomoseg "):  # a command to be typed
        yield text
    values = [one.value for one in joined.values if isinstance(one, ast.FormattedValue)]
    yield from (text for value in values for text in _texts(value, printed=False))


@pytest.mark.parametrize("path", PRINTING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_printed_is_in_the_catalogue(path):
    assert english_in(path.read_text(encoding="utf-8")) == []


def test_the_rule_sees_what_is_not_said():
    assert english_in('out.print(f"{n} cases left")') == ["cases", "left"]
    assert english_in('table("Found", ("what", say("times")), rows)') == ["Found", "what"]
    assert english_in('x = f"{n} training slices"') == ["training", "slices"]
    assert english_in('out.print(say("all of it") + f" {n:.3f} mm")') == []
    assert english_in('"""Of it."""\nrow["what is"]; out.print(f"--batch-size {n}, {folder}/a.png")') == []

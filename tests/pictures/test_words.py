"""Whatever pictures and pages say, they can say in French, and nothing is translated that nobody says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tomoseg.pictures.words import ENGLISH, FRENCH, number, say

SRC = Path(__file__).resolve().parent.parent.parent / "src" / "tomoseg"


def texts_in(code: str) -> Iterator[str]:
    """Every string in a module that is no docstring."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def said_in(code: str) -> Iterator[str]:
    """The texts of all calls of `say`, where they stand in the call itself."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "say" and node.args:
            yield from (n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant) and type(n.value) is str)


def said_in_page(template: str) -> list[str]:
    return re.findall(r'say\("([^"]+)"', template)


MODULES = {
    path: code for path in SRC.rglob("*.py") if "pictures.words import" in (code := path.read_text(encoding="utf-8"))
}
PAGES = {path: path.read_text(encoding="utf-8") for path in SRC.rglob("*.html")}


def test_calls_are_found():
    assert list(said_in('say("a", lang); words.say("b" if x else "c"); said("d"); say(text)')) == ["a", "b", "c"]
    assert said_in_page('<b>{{ say("a") }}</b>{% if say("b {x}", x=1) %}') == ["a", "b {x}"]


def test_whatever_is_said_has_french_words():
    said = {(path.name, text) for path, code in MODULES.items() for text in said_in(code)}
    said |= {(path.name, text) for path, page in PAGES.items() for text in said_in_page(page)}
    assert len(said) > 40
    assert sorted((name, text) for name, text in said if text not in FRENCH) == []


def test_no_words_are_left_over():
    written = [path.read_text(encoding="utf-8") for path in SRC.rglob("*.py") if path.name != "words.py"]
    used = {text for code in written for text in texts_in(code)}
    used |= {text for page in PAGES.values() for text in said_in_page(page)}
    assert sorted(set(FRENCH) - used) == []


def test_both_languages_have_the_same_blanks():
    assert set(ENGLISH) <= set(FRENCH)
    for key, french in FRENCH.items():
        blanks = set(re.findall(r"\{\w+\}", ENGLISH.get(key, key)))
        assert blanks == set(re.findall(r"\{\w+\}", french)), key


def test_words_and_numbers_by_hand():
    assert say("Reference", "fr") == "Vérité terrain"
    with pytest.raises(KeyError, match="What nobody translated"):
        say("What nobody translated", "fr")
    assert (number(-0.05, 1, signed=True), number(0.05, 2, "fr", signed=True)) == ("−0.1", "+0,05")

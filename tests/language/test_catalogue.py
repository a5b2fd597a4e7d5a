"""Whatever is said can be said in French, and nothing is translated that nobody says."""

import re
import sys
from gettext import GNUTranslations
from importlib import import_module
from io import BytesIO
from pathlib import Path

import pytest

from tomoseg.language.words import texts

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
BUILD, SOURCE = import_module("build_catalogue"), import_module("said_in_source")
KNOWN = BUILD.catalogue()
MESSAGES = [message for message in KNOWN if message.id]
BRACES = re.compile(r"{\w*[^{}]*}")


def strings(text):
    return (text,) if isinstance(text, str) else tuple(text)


def test_texts_are_found_in_code_and_in_pages():
    code = 'say("a", lang); words.say("b" if x else "c"); said("d"); say(text); later("e"); say_many(n, "1 f", "{n} f")'
    assert list(SOURCE.texts_in(code)) == ["a", "b", "c", "e", ("1 f", "{n} f")]
    assert list(SOURCE.texts_in('all_later("a", "b"); all_later()')) == ["a", "b"]
    assert list(SOURCE.texts_in_page('<b>{{ say("a") }}</b>{% if say("b {x}", x=1) %}')) == ["a", "b {x}"]
    script = 'say("a {n}", { n }), said("b"), later(\n  "c" +\n    "d \\"e\\""), say(other), `${say("f")}`'
    assert list(SOURCE.texts_in_script(script)) == ["a {n}", 'cd "e"', "f"]


def test_whatever_is_said_is_in_the_catalogue_and_nothing_else():
    known = {(m.context, m.id if isinstance(m.id, str) else tuple(m.id)) for m in MESSAGES}
    assert len(known) > 100
    assert known == set(BUILD.said()), "python docs/build_catalogue.py brings the catalogue up to date"


def test_whatever_is_in_the_catalogue_is_translated():
    assert [message.id for message in BUILD.missing(KNOWN)] == []


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: strings(message.id)[-1][:40])
def test_a_translation_has_the_same_blanks(message):
    wanted = sorted(BRACES.findall(strings(message.id)[-1]))
    assert all(sorted(BRACES.findall(text)) == wanted for text in strings(message.string))


def test_what_is_read_is_made_of_what_is_written():
    made = GNUTranslations(BytesIO(BUILD.compiled(KNOWN)))
    for message in MESSAGES:
        if isinstance(message.id, str):
            key = message.id if message.context is None else f"{message.context}\4{message.id}"
            assert texts("fr")[key] == made.gettext(key)
    assert BUILD.MO.read_bytes() == BUILD.compiled(KNOWN), "python docs/build_catalogue.py makes it anew"


def test_sentences_are_found_as_patterns():
    code = """
TOLD = "keep one"
def name(x):
    return f"the {x} one" if x else "no one"
def f(names, gap_mm, error):
    some = ", ..." if len(names) > 5 else ""
    if not names:
        raise InputError(f"{names}: expected {counted(gap_mm, 'case')}, got {names[0]!r}{some}; {TOLD}")
    text = "Slices are missing"
    text += f": {name(gap_mm)}." if names else "."
    raise KeyError("nobody reads it")
    size, why = chosen(names)
    Choice("size", size, why)
    return Notice(text, "missing slices"), InputError(f"expected {{1: x}}, got {describe(error)} here")
def chosen(names):
    if names:
        return 1, f"fits {names}"
    return 2, "fits none"
def describe(error):
    if error:
        return "a long description of something that is longer than what is put into the sentence itself"
    return f"another of {error}, which is as long and has a value of its own, so that it is a pattern by itself"
"""
    wanted = {
        "{1}: expected {2} case, got {3}; keep one",
        "{1}: expected {2} cases, got {3}; keep one",
        "Slices are missing",
        "Slices are missing: the {1} one.",
        "Slices are missing: no one.",
        "Slices are missing.",
        "fits {1}",
        "fits none",
        "expected {{1: x}}, got {1} here",
        "a long description of something that is longer than what is put into the sentence itself",
        "another of {1}, which is as long and has a value of its own, so that it is a pattern by itself",
    }
    assert set(SOURCE.sentences([(Path("a.py"), code)])) == wanted


def test_words_that_stand_for_a_missing_value_are_found():
    code = """
def f(path, mode, names):
    got = None if mode is None else "a folder" if mode else "a pipe"
    raise InputError(f"{path}: expected a file ({', '.join(names) or 'there are none'}), got {got or 'no name'}")
"""
    wanted = {"{1}: expected a file ({2}), got {3}", "a folder", "a pipe", "no name", "there are none"}
    assert set(SOURCE.sentences([(Path("a.py"), code)])) == wanted


def test_whatever_reads_as_english_is_found_wherever_it_stands():
    code = """
def f(names, n):
    '''A sentence that documents what is done here.'''
    refuse("a folder without slices")
    notes = (f"{n} masks without a file among the predictions", "liver", "--roi-subset")
    mine.execute("SELECT one FROM those WHERE it IS NULL")
    yield counted(n, "box", "boxes")
    return {"what": "a device or a pipe"}, say("a text of its own"), "no air" in names
kind: Literal["no air at all"] = "no air at all"
"""
    wanted = {
        "a folder without slices",
        "{1} masks without a file among the predictions",
        "{1} box",
        "{1} boxes",
        "a device or a pipe",
    }
    assert set(SOURCE.sentences([(Path("a.py"), code)])) == wanted


ENGLISH = re.compile(
    r"\b(?:the|of|with|from|its|that|which|got|expected|and|were|was|has|have|no|not|by|this|are|in|to|for|it|an|than|"
    r"each|one|more|none|slices?|scans?|masks|cases?|lacking|such|only|left|out)\b"
)
"""Words that no French text has but in names, flags and commands."""

AS_THEY_ARE = re.compile(
    r"`[^`]*`|\"[^\"]*\"|'[^' ]*'|--?[\w.-]+|<\w+>|\w+[.=_-]\w+[\w.-]*|[\w.*-]*/[\w./*-]*|{[^}]*}|[A-Z_]{3,}"
)


def english_in(french):
    """The words of English in a French text, what is typed or a file's left out."""
    return ENGLISH.findall(AS_THEY_ARE.sub(" ", french))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: strings(message.id)[-1][:40])
def test_a_translation_keeps_no_english(message):
    assert [english_in(text) for text in strings(message.string) if english_in(text)] == []


def test_english_is_seen_in_a_translation():
    assert english_in("il faut un scanner, pas a dose grid of the patient") == ["of", "the"]
    assert english_in("voir `tomoseg of the`, --of-the, docs/in/the.md, out-of-fold et 'the'") == []


def test_spaces_before_high_punctuation_do_not_break():
    assert BUILD.typeset("a : « b » ? 5 % c !") == "a\xa0: «\xa0b\xa0»\xa0? 5\xa0% c\xa0!"

"""Whatever is said can be said in French, and nothing is translated that nobody says."""

import re
import runpy
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path

import pytest

from tomoseg.language.words import texts

BUILD = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs" / "build_catalogue.py"), run_name="built")
KNOWN = BUILD["catalogue"]()
MESSAGES = [message for message in KNOWN if message.id]
BRACES = re.compile(r"{(\w*)[^}]*}")


def strings(text):
    return (text,) if isinstance(text, str) else tuple(text)


def test_texts_are_found_in_code_and_in_pages():
    code = 'say("a", lang); words.say("b" if x else "c"); said("d"); say(text); later("e"); say_many(n, "1 f", "{n} f")'
    assert list(BUILD["said_in"](code)) == ["a", "b", "c", "e", ("1 f", "{n} f")]
    assert list(BUILD["said_in"]('all_later("a", "b"); all_later()')) == ["a", "b"]
    assert list(BUILD["said_in_page"]('<b>{{ say("a") }}</b>{% if say("b {x}", x=1) %}')) == ["a", "b {x}"]


def test_whatever_is_said_is_in_the_catalogue_and_nothing_else():
    known = {message.id if isinstance(message.id, str) else tuple(message.id) for message in MESSAGES}
    assert len(known) > 100
    assert known == set(BUILD["said"]()), "python docs/build_catalogue.py brings the catalogue up to date"


def test_whatever_is_in_the_catalogue_is_translated():
    assert [message.id for message in BUILD["missing"](KNOWN)] == []


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: strings(message.id)[-1][:40])
def test_a_translation_has_the_same_blanks(message):
    wanted = set(BRACES.findall(strings(message.id)[-1]))
    assert all(set(BRACES.findall(text)) == wanted for text in strings(message.string))


def test_what_is_read_is_made_of_what_is_written():
    made = GNUTranslations(BytesIO(BUILD["compiled"](KNOWN)))
    for message in MESSAGES:
        if isinstance(message.id, str):
            assert texts("fr")[message.id] == made.gettext(message.id)
    assert BUILD["MO"].read_bytes() == BUILD["compiled"](KNOWN), "python docs/build_catalogue.py makes it anew"


def test_spaces_before_high_punctuation_do_not_break():
    assert BUILD["typeset"]("a : « b » ? 5 % c !") == "a\xa0: «\xa0b\xa0»\xa0? 5\xa0% c\xa0!"

"""What is said in a language, by hand."""

import pytest

from tomoseg.language.words import number, percent, say, say_many, speak, spoken, texts


@pytest.fixture
def _in_french():
    speak("fr")
    yield
    speak("en")


def test_words_by_hand():
    assert say("Reference", "fr") == "Vérité terrain"
    assert say("Reference") == say("Reference", "en") == "Reference"
    assert say("Segmentation: {structure}", "fr", structure="foie") == "Segmentation\xa0: foie"


def test_what_nobody_translated_is_english():
    assert say("What {nobody} translated", "fr", nobody="he") == "What he translated"


def test_french_counts_none_as_one_and_english_does_not():
    asked = [(count, lang) for lang in ("en", "fr") for count in (0, 1, 2)]
    said = [say_many(count, "1 epoch in {minutes} min", "{count} epochs in {minutes} min", lang, minutes=9)
            for count, lang in asked]  # fmt: skip
    english = ["0 epochs in 9 min", "1 epoch in 9 min", "2 epochs in 9 min"]
    assert said == [*english, "0 époque en 9 min", "1 époque en 9 min", "2 époques en 9 min"]


@pytest.mark.usefixtures("_in_french")
def test_a_process_speaks_the_language_that_was_chosen_for_it():
    assert spoken() == "fr"
    assert (say("Reference"), number(0.5, 1), percent(0.5)) == ("Vérité terrain", "0,5", "50\xa0%")
    assert (say("Reference", "en"), number(0.5, 1, "en"), percent(0.5, "en")) == ("Reference", "0.5", "50%")


def test_numbers_by_hand():
    assert (number(-0.05, 1, signed=True), number(0.05, 2, "fr", signed=True)) == ("−0.1", "+0,05")


def test_all_texts_can_be_had():
    assert texts("en") == {}
    assert texts("fr")["Reference"] == "Vérité terrain"

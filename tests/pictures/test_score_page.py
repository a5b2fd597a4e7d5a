"""The page of an evaluation: what it says, in both languages, and that it needs nothing else."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tomoseg.evaluation.scores import CaseScore, StructureScore
from tomoseg.evaluation.summary import compare, summarise
from tomoseg.labels import LabelSet, Structure
from tomoseg.pictures.score_page import ScorePage, Spread, spread, write_score_page
from tomoseg.pictures.words import ENGLISH, FRENCH, number, say

LABELS = LabelSet((Structure(1, "left_lung", "organs"), Structure(2, "rib_1", "bones"), Structure(3, "rib_2", "bones")))


def scores(shift=0.0):
    return [
        CaseScore(
            f"case {i} <b>",
            (
                StructureScore("left_lung", 0.8 + i / 100 + shift, 0.7, 900.0, 950.0, 0.9, 4.5 + i, 1.25),
                StructureScore("rib_1", None, None, 0.0, 2.5),
            ),
        )
        for i in range(6)
    ]


def page(**more):
    return ScorePage("model & data", {}, LABELS, summarise(scores(), LABELS, 200), scores(), 3.0, "tomoseg", **more)


class Text(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.words, self.open = [], []
        self.feed(text)

    def handle_data(self, data):
        self.words.append(data.strip())

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass


def text_of(made, path, lang="en"):
    write_score_page(made, path, lang)
    written = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|src=\"(?!data:)|<script|<link", written)
    parsed = Text(written)
    assert parsed.open == []
    return " ".join(word for word in parsed.words if word)


def test_it_says_what_was_found(tmp_path):
    worst = [("case 0 <b>", scores()[0].structures[0])]
    text = text_of(
        page(worst=worst, failed={"x": "no prediction"}, warnings=("Two are unknown.",)), tmp_path / "a.html"
    )
    assert "Evaluation of model & data" in text
    assert "6 cases · 6 patients · 3 structures" in text
    assert "surface Dice at 3 mm 0.900 (0.900, 0.900)" in text
    assert "left lung 6 0.825" in text
    assert "6 / 6" in text  # false alarms of rib 1
    assert "x: no prediction" in text
    assert "Two are unknown." in text
    assert "case 0 <b> left lung 0.800 0.900 4.5 1.25 +5.6" in text


def test_it_says_it_in_french(tmp_path):
    text = text_of(page(), tmp_path / "a.html", "fr")
    assert "Évaluation de model & data" in text
    assert "Dice de surface à 3 mm 0,900 (0,900 ; 0,900)" in text
    assert "Comment lire ce rapport" in text
    assert 'lang="fr"' in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_it_compares(tmp_path):
    other = compare(scores(0.05), scores(), LABELS)
    text = text_of(page(comparison=("theirs", other)), tmp_path / "a.html")
    assert "Compared with theirs" in text
    assert "left lung +0.050 (+0.050, +0.050) +0.000" in text
    assert "0.031" in text  # six patients, all one way: 2 / 2**6
    assert "rib" not in text.split("Each structure")[0]  # which has no Dice on either side


def test_what_has_no_surfaces_shows_none(tmp_path):
    plain = [CaseScore("a", (StructureScore("left_lung", 0.5, 0.3, 1.0, 1.0),))]
    made = ScorePage("x", {}, LABELS, summarise(plain, LABELS), plain, None, "nnunet")
    text = text_of(made, tmp_path / "a.html")
    assert "HD95" not in text
    assert "false alarms" not in text
    assert "Where a mask is empty, scores are those of nnunet." in text


def test_a_box_plot_by_hand():
    values = np.array([0.0, 0.7, 0.8, 0.8, 0.9, np.nan])
    assert spread(values) == Spread(70, 70, 80, 80, 90, (0,))
    assert spread(np.array([np.nan])) is None
    assert spread(np.array([0.4])) == Spread(40, 40, 40, 40, 40, ())


def test_all_words_are_there_in_both_languages():
    assert set(ENGLISH) <= set(FRENCH)
    for key, french in FRENCH.items():
        braces = set(re.findall(r"\{\w+\}", ENGLISH.get(key, key)))
        assert braces == set(re.findall(r"\{\w+\}", french)), key
    assert say("Reference", "fr") == "Référence"
    with pytest.raises(KeyError):
        say("What nobody translated", "fr")
    assert (number(-0.05, 1, signed=True), number(0.05, 2, "fr", signed=True)) == ("−0.1", "+0,05")

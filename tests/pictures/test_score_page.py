"""The page of an evaluation: what it says, in both languages, and that it needs nothing else."""

import re
from html.parser import HTMLParser

import numpy as np

from tests.evaluation.made import structure_score
from tomoseg.evaluation.ranking import rank
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.summary import compare, summarise
from tomoseg.labels import LabelSet, Structure
from tomoseg.pictures.score_page import ScorePage, Spread, spread, write_score_page

LABELS = LabelSet((Structure(1, "left_lung", "organs"), Structure(2, "rib_1", "bones"), Structure(3, "rib_2", "bones")))


def scores(shift=0.0):
    return [
        CaseScore(
            f"case {i} <b>",
            (
                structure_score("left_lung", 0.8 + i / 100 + shift, 0.7, 900.0, 950.0, 0.9, 4.5 + i, 1.25),
                structure_score("rib_1", None, None, 0.0, 2.5),
            ),
            "",
            (1.5, 1.5, 2.0 + i / 10),
        )
        for i in range(6)
    ]


def page(**more):
    return ScorePage("model & data", "refs", LABELS, summarise(scores(), LABELS, 200), scores(), 3.0, "tomoseg", **more)


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
    return " ".join(word for word in parsed.words if word).replace("\xa0", " ")


def test_it_says_what_was_found(tmp_path):
    worst = [("case 0 <b>", scores()[0].structures[0])]
    text = text_of(
        page(worst=worst, failed={"x": "no prediction"}, warnings=("Two are unknown.",)), tmp_path / "a.html"
    )
    assert "Evaluation of model & data against refs" in text
    assert "6 cases · 6 patients · 3 structures · voxels of 1.5 × 1.5 × 2 to 2.5 mm" in text
    assert "surface Dice at 3 mm 0.900 (0.900, 0.900) 1 structure" in text
    assert "left lung 6 0.825 (0.812, 0.840) 0.700 (0.700, 0.700) 0.900" in text
    assert "bones 0 structures – –" in text
    assert "(+5.6, +5.6) 6 / 6 bones" in text  # found
    assert "– 6 / 6 2.5 rib 2" in text  # false alarms of rib 1
    assert "x: no prediction" in text
    assert "Two are unknown." in text
    assert "case 0 <b> left lung 0.800 0.700 0.900 4.5 1.25 +50.0 +5.6" in text


def test_structures_are_ranked_with_how_often_they_succeed(tmp_path):
    def case(name, lung, rib):
        return CaseScore(
            name, (structure_score("left_lung", lung, 0.5, 1.0, 1.0), structure_score("rib_1", rib, 0.5, 1.0, 1.0))
        )

    some = [case("a", 0.6, 0.95), case("b", 0.75, 0.8)]
    made = ScorePage(
        "x", "y", LABELS, summarise(some, LABELS), some, None, "tomoseg", ranking=rank(some, LABELS, (0.5, 0.7, 0.9))
    )
    text = text_of(made, tmp_path / "a.html")
    assert "cases by their Dice: below 0.5 from 0.5 from 0.7 from 0.9" in text
    # the means of 1, 1/2, 0 and of 1, 1, 1/2
    assert "all 2 structures 100% 75% 25%" in text
    assert "rib 1 bones 2 1 0.875 1 100% 100% 50% left lung organs 2 2 0.675 2 100% 50% 0%" in text
    assert "Without a Dice, since no case has a reference for them: rib 2" in text
    written = (tmp_path / "a.html").read_text(encoding="utf-8")
    bars = [
        [(float(x), float(width)) for x, width in re.findall(r'<rect x="([\d.]+)" y="1" width="([\d.]+)"', bar)]
        for bar in re.findall(r"<svg.*?</svg>", written, re.S)[:3]
    ]
    assert bars == [[(0, 25), (25, 50), (75, 25)], [(0, 50), (50, 50)], [(0, 50), (50, 50)]]
    french = text_of(made, tmp_path / "b.html", "fr")
    assert "rib 1 bones 2 1 0,875 1 100 % 100 % 50 %" in french
    assert "à partir de 0,5" in french


def test_it_says_it_in_french(tmp_path):
    text = text_of(page(), tmp_path / "a.html", "fr")
    assert "Évaluation de model & data par rapport à refs" in text
    assert "voxels de 1,5 × 1,5 × 2 à 2,5 mm" in text
    assert "organes" in text
    assert "Dice de surface à 3 mm 0,900 (0,900 ; 0,900)" in text
    assert "Comment lire ce rapport" in text
    assert 'lang="fr"' in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_it_compares(tmp_path):
    other = compare(scores(0.05), scores(), LABELS)
    text = text_of(page(comparison=("theirs", other)), tmp_path / "a.html")
    assert "Compared with theirs" in text
    assert "theirs, on the cases that both have (6)" in text
    assert "all 6 +0.050" in text
    assert "left lung 6 +0.050 (+0.050, +0.050) +0.000" in text
    assert "0.031" in text  # six patients, all one way: 2 / 2**6
    assert "rib" not in text.split("Each structure")[0]  # which has no Dice on either side


def test_what_has_no_surfaces_shows_none(tmp_path):
    plain = [CaseScore("a", (structure_score("left_lung", 0.5, 0.3, 1.0, 1.0),))]
    made = ScorePage("x", "y", LABELS, summarise(plain, LABELS), plain, None, "nnunet")
    text = text_of(made, tmp_path / "a.html")
    assert "HD95" not in text
    assert "false alarms" not in text
    assert "Where a mask is empty, scores are those of nnunet." in text


def test_n_is_told_where_a_metric_has_another(tmp_path):
    some = [
        CaseScore("a", (structure_score("left_lung", 0.5, 0.3, 1.0, 1.0, 0.5, 2.0, 1.0),)),
        CaseScore("b", (structure_score("left_lung", 0.0, 0.0, 1.0, 0.0, 0.0),)),  # missed, without a distance
    ]
    made = ScorePage("x", "y", LABELS, summarise(some, LABELS), some, 3.0, "totalsegmentator")
    text = text_of(made, tmp_path / "a.html")
    assert "left lung 2 0.250 0.150 0.250 2.0 n = 1 1.00 n = 1" in text
    assert "1 / 2" in text


def test_pictures_have_captions_and_the_course_is_drawn_in_the_language(tmp_path, monkeypatch):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"PNG")
    drawn = []

    def draw(records, path, lang):
        drawn.append((list(records), lang))
        path.write_bytes(b"curves")

    monkeypatch.setattr("tomoseg.pictures.history.draw_history", draw)
    course = [{"epoch": 1, "train_loss": 0.5}]
    made = page(pictures=[("case 1 <b>", "left_lung", picture)], course=course)
    text = text_of(made, tmp_path / "a.html", "fr")
    assert drawn == [(course, "fr")]
    assert "case 1 <b> · left lung · Dice 0,810 · Dice de surface 0,900 · HD95 5,5 mm · erreur de volume +5,6 %" in text
    assert "Déroulement de l'entraînement" in text


def test_small_p_values_are_not_told_apart(tmp_path):
    def many(shift):
        return [
            CaseScore(str(i), (structure_score("left_lung", 0.5 + i / 100 + shift, 0.5, 1.0, 1.0),)) for i in range(20)
        ]

    text = text_of(page(comparison=("theirs", compare(many(0.1), many(0.0), LABELS))), tmp_path / "a.html", "fr")
    assert "< 0,001" in text


def test_a_box_plot_by_hand():
    values = np.array([0.0, 0.7, 0.8, 0.8, 0.9, np.nan])
    assert spread(values) == Spread(70, 70, 80, 80, 90, (0,))
    assert spread(np.array([np.nan])) is None
    assert spread(np.array([0.4])) == Spread(40, 40, 40, 40, 40, ())

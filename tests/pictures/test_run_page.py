"""The page of a training run: it says what was reached, escapes what it is given, and needs no other file."""

from html.parser import HTMLParser

import pytest

from tomoseg.config import TrainConfig
from tomoseg.labels import LabelSet, Structure
from tomoseg.notices import Notice
from tomoseg.pictures.history import draw_history
from tomoseg.pictures.run_page import write_run_page

LABELS = LabelSet((Structure(1, "liver", "organs"), Structure(2, "a<b", "other"), Structure(3, "spleen", "organs")))
HISTORY = [
    {"epoch": 1, "minutes": 1.0, "train_loss": 1.0, "validation_dice": 0.9, "dice": dict.fromkeys(LABELS.names, 0.9)},
    {
        "epoch": 2,
        "minutes": 2.25,
        "train_loss": 0.5,
        "validation_dice": 0.95,
        "dice": {"liver": 0.975, "a<b": None, "spleen": 0.925},
    },
    {"epoch": 3, "minutes": 3.5, "train_loss": 0.4},
]


class Page(HTMLParser):
    """Texts, pictures and what is fetched from elsewhere."""

    def __init__(self):
        super().__init__()
        self.texts, self.pictures, self.elsewhere = [], [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href"):
                (self.pictures if value.startswith("data:") else self.elsewhere).append(value)

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())


def read(history, tmp_path, *, curves=True):
    path, picture = tmp_path / "run <1>" / "summary.html", tmp_path / "history.png"
    if curves:
        draw_history(history, picture)
    write_run_page(history, LABELS, TrainConfig(seed=7), {"cases": 12}, picture, path)
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def test_it_says_what_was_reached(tmp_path):
    page = read(HISTORY, tmp_path)
    assert "3 epochs in 3.5 min · best validation Dice 0.9500, after epoch 2" in page.texts
    rows = page.texts[page.texts.index("organs") :]
    assert rows[: rows.index("Settings")] == ["organs", "liver", "0.975", "spleen", "0.925", "other", "a<b", "–"]
    assert page.texts[page.texts.index("cases") + 1] == "12"
    assert "seed: 7" in page.texts[-1]
    assert page.texts.count("Training run run <1>") == 2


def test_it_needs_no_other_file(tmp_path):
    page = read(HISTORY, tmp_path)
    assert page.elsewhere == []
    assert [picture[:22] for picture in page.pictures] == ["data:image/png;base64,"]


def test_a_name_that_is_no_utf8_is_written_as_an_escape(tmp_path):
    write_run_page(HISTORY, LABELS, TrainConfig(), {"dataset": "caf\udce9"}, tmp_path / "none.png", tmp_path / "a.html")
    assert r"caf\udce9" in (tmp_path / "a.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("curves", [True, False])
def test_a_run_without_validation(tmp_path, curves):
    page = read([{"epoch": 1, "minutes": 1.0, "train_loss": 1.0}], tmp_path, curves=curves)
    assert "1 epoch in 1.0 min" in page.texts
    assert "organs" not in page.texts
    assert len(page.pictures) == curves


def test_what_was_noticed_of_the_scans_is_on_it(tmp_path):
    path = tmp_path / "run" / "summary.html"
    noticed = [Notice("a: It is <no> CT.", "not HU"), Notice("b: Tilted.", "tilt")]
    write_run_page(HISTORY, LABELS, TrainConfig(), {}, tmp_path / "none.png", path, noticed)
    text = path.read_text(encoding="utf-8")
    assert '<li class="decisive">a: It is &lt;no&gt; CT.</li>' in text
    assert "<li>b: Tilted.</li>" in text
    write_run_page(HISTORY, LABELS, TrainConfig(), {}, tmp_path / "none.png", path)
    assert "Notices about the scans" not in path.read_text(encoding="utf-8")

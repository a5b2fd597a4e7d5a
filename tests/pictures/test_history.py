import json

import numpy as np
import pytest

from tests.pictures.test_canvas import read
from tomoseg.errors import InputError
from tomoseg.pictures.history import best_epoch, draw_history, read_metrics

RECORD = {
    "epoch": 1,
    "train_loss": 0.5,
    "validation_loss": None,
    "validation_dice": 0.25,
    "learning_rate": 1e-3,
    "minutes": 2,
}
TRAINING, VALIDATION, DICE, STAR = (0x1F, 0x6F, 0xB4), (0xD9, 0x54, 0x1E), (0x2A, 0x8A, 0x4A), (0xE8, 0xB0, 0x00)


def record(epoch, **values):
    return {"epoch": epoch, "train_loss": 1.0 / epoch, "learning_rate": 1e-3, "minutes": float(epoch), **values}


def pixels_of(picture, colour):
    """Rows and columns of a colour."""
    return np.nonzero((picture == colour).all(axis=2))


def test_records_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records = [RECORD, {"epoch": 2}]
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    assert read_metrics(path) == records


def test_empty_lines_and_an_empty_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("")
    assert read_metrics(path) == []
    path.write_text('\n{"epoch": 1}\r\n\n')
    assert read_metrics(path) == [{"epoch": 1}]


def test_a_file_cut_anywhere_gives_its_whole_records(tmp_path):
    path = tmp_path / "metrics.jsonl"
    line = json.dumps({**RECORD, "note": "é"}, ensure_ascii=False).encode() + b"\n"
    for cut in range(len(line) + 1):
        path.write_bytes(line + line[:cut])
        assert len(read_metrics(path)) == (2 if cut >= len(line) - 1 else 1)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"epoch": 1, "tr', "no JSON"),
        ("[1]", "a list"),
        ("{}", "epoch None"),
        ('{"epoch": 1.5}', "epoch 1.5"),
        ('{"epoch": true}', "epoch True"),
        ('{"epoch": 1, "train_loss": "low"}', "train_loss 'low'"),
    ],
)
def test_any_other_bad_line_is_told_by_its_number(tmp_path, line, problem):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"epoch": 1}}\n{line}\n{{"epoch": 3}}\n')
    with pytest.raises(InputError, match=f"in line 2, got {problem}"):
        read_metrics(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="expected the metrics of a run"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_best_epoch_is_the_first_of_the_highest():
    nan = float("nan")
    assert best_epoch(np.array([3, 5, 7, 9]), np.array([0.1, nan, 0.8, 0.8])) == (7, 0.8)
    assert best_epoch(np.array([3, 5]), np.array([nan, nan])) is None


def test_three_panels_show_what_was_measured(tmp_path):
    path = tmp_path / "history.png"
    draw_history([record(e, validation_loss=1.1 / e, validation_dice=0.1 * e) for e in range(1, 9)], path)
    picture = read(path)
    assert picture.shape == (480, 1600, 3)
    thirds = [pixels_of(picture, colour)[1] // 534 for colour in (TRAINING, VALIDATION, DICE, STAR)]
    assert [np.unique(third).tolist() for third in thirds] == [[0], [0], [1], [1]]


def test_the_star_is_at_the_best_epoch(tmp_path):
    """Dice rises to epoch 4 of 1 to 9 and falls again: 3/8 of the way, and above all other points."""
    path = tmp_path / "history.png"
    draw_history([record(e, validation_dice=0.8 - 0.05 * abs(e - 4)) for e in range(1, 10)], path)
    picture = read(path)
    rows, columns = pixels_of(picture, STAR)
    line_rows, line_columns = pixels_of(picture, DICE)
    share = (columns.mean() - line_columns.min()) / (line_columns.max() - line_columns.min())
    assert share == pytest.approx(3 / 8, abs=0.02)
    assert rows.mean() < line_rows.min() + 8


def test_missing_validations_are_joined_and_none_at_all_is_said(tmp_path):
    draw_history([record(e, validation_loss=0.5 if e % 5 == 1 else None) for e in range(1, 12)], tmp_path / "a.png")
    rows, columns = pixels_of(read(tmp_path / "a.png"), VALIDATION)
    middle = rows == np.bincount(rows).argmax()
    assert np.diff(np.unique(columns[middle])).max() == 1
    assert not pixels_of(read(tmp_path / "a.png"), DICE)[0].size


@pytest.mark.parametrize(
    "records",
    [
        [record(1, validation_dice=0.0, validation_loss=float("nan"))],
        [{"epoch": 7}, {"epoch": 8}],
        [record(1, train_loss=float("inf")), record(2, learning_rate=0.0)],
        [record(e, learning_rate=0.01 * 0.9**e) for e in range(1, 300)],
        [record(1, learning_rate=1e-2), record(2, learning_rate=5e-4), record(3, learning_rate=0)],
    ],
    ids=["one", "bare", "infinite", "long", "to zero"],
)
def test_any_run_is_drawn_without_a_warning(tmp_path, records):
    draw_history(records, tmp_path / "history.png")
    assert read(tmp_path / "history.png").shape == (480, 1600, 3)


def test_the_learning_rate_is_logarithmic_beyond_tenfold(tmp_path):
    """A geometric fall is straight on a logarithmic axis and bent on a linear one."""
    for share, straight in ((0.5, True), (0.9, False)):
        draw_history([record(e, learning_rate=0.01 * share**e) for e in range(1, 11)], tmp_path / "a.png")
        rows, columns = pixels_of(read(tmp_path / "a.png"), (0x6B, 0x4E, 0xA0))
        middle = rows[np.abs(columns - (columns.min() + columns.max()) / 2) < 2].mean()
        bend = abs(middle - (rows.min() + rows.max()) / 2)
        assert (bend < 4) == straight


def test_an_epoch_that_comes_twice_counts_as_it_was_last(tmp_path):
    draw_history([record(1), record(2, train_loss=9.0), record(2), record(3)], tmp_path / "a.png")
    draw_history([record(3), record(1), record(2)], tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_record_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one epoch"):
        draw_history([], tmp_path / "a.png")

"""What became of each scan, in the terminal, and that showing it loads little."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.terminal.shown import rows_in
from tomoseg.notices import Notice
from tomoseg.terminal.predictions import show_done, show_predictions
from tomoseg.workflows.prediction_record import ScanDone
from tomoseg.workflows.scans import Scan


def scan(name):
    return Scan(name, Path(f"{name}.nii.gz"), Path("out") / name)


def record(**more):
    seconds = {"read": 1.0, "segment": 2.5, "network": 2.0, "write": 0.5}  # the network is a part of segment
    engine = {"name": "openvino", "precision": "fp32", "device": "cpu"}
    return {"seconds": seconds, "engine": engine, "peak_memory_bytes": 3 * 2**29} | more


ENDED = [
    ScanDone(scan("a"), None, (Notice("It is odd.", "tilt"),), record=record()),
    ScanDone(scan("b"), None, (), skipped=True, record=record(engine={})),
    ScanDone(scan("c"), "expected a scan, got none", ()),
]


@pytest.mark.parametrize(
    ("ended", "out", "err"),
    [
        (ENDED[0], f"a: {Path('out/a')} (4.0 s)\n", ""),
        (ENDED[1], f"b: {Path('out/b')} (done before)\n", ""),
        (ENDED[2], "", "failed: c: expected a scan, got none\n"),
    ],
)
def test_each_scan_has_its_line_when_it_ends(ended, out, err, capsys):
    show_done(ended)
    assert capsys.readouterr() == (out, err)


def test_what_computed_them_and_what_failed_come_last(capsys):
    show_predictions(ENDED)
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["openvino fp32 on cpu, peak memory 1.61 GB"]
    assert printed.err.splitlines() == ["warning: a: It is odd.", "failed: 1 of 3 scans: c"]


def test_why_an_only_scan_failed_is_said_once(capsys):
    show_predictions(ENDED[2:])
    assert capsys.readouterr() == ("", "")


def test_what_is_noticed_of_many_scans_is_told_once_and_the_decisive_first(capsys):
    def noticed(name, *kinds):
        return ScanDone(
            scan(name), None, tuple(Notice(f"{name}.nii.gz: It is {k}.", k) for k in kinds), record=record()
        )

    show_predictions([noticed("a", "left out", "tilt"), noticed("b", "tilt", "other body part"), noticed("c", "tilt")])
    assert capsys.readouterr().err.splitlines() == [
        "warning: b: It is other body part.",
        "warning: a, b, c: It is tilt.",
        "note: a: It is left out.",
    ]


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        (33, "the model is tuned on 33 cases; --no-tuned turns this off"),
        (2, "the model is tuned on 2 cases, too few: tune it again, or predict with --no-tuned"),
        (None, "the model is tuned; --no-tuned turns this off"),
    ],
)
def test_the_last_line_says_that_the_model_is_tuned(cases, said, capsys):
    show_predictions([ScanDone(scan("a"), None, (), record=record(tuned={"cases": cases}))])
    assert capsys.readouterr().out.splitlines()[-1] == f"openvino fp32 on cpu, peak memory 1.61 GB; {said}"


def rated(name, mean, notices=(), key="self_rating", **structures):
    rating = {"mean": mean, "structures": structures}
    return ScanDone(scan(name), None, notices, record=record(**{key: rating}))


OTHER = (Notice("It seems to show pelvis.", "other body part"),)
LONG = (Notice("The scan measures 900 mm.", "unlike training"),)


def test_the_scan_to_look_at_first_comes_first(capsys):
    show_predictions(
        [
            rated("good", 0.9, liver=0.95, rib=0.85),
            rated("none", None, liver=None),
            rated("bad", 0.5, rib=0.5),
            rated("before", 0.7, key="expected_dice", rib=0.7),
            rated("pelvis", 0.99, OTHER, key="expected_dice", liver=0.99),
        ]
    )
    printed = capsys.readouterr().out
    assert rows_in(printed) == [
        ("scan", "rank", "self-rating", "lowest structure", "its rating", "structures found", "reason"),
        ("pelvis", "1", "-", "-", "-", "1", "unlike the training scans"),
        ("none", "2", "-", "-", "-", "0", "no structure was found"),
        ("bad", "3", "0.500", "rib", "0.500", "1", ""),
        ("before", "4", "0.700", "rib", "0.700", "1", ""),
        ("good", "5", "0.900", "rib", "0.850", "2", ""),
    ]
    assert "those that the model is least sure of (a rank, no Dice)" in printed
    assert "expected" not in printed


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (
            rated("a", 0.9, liver=0.95, rib=0.85),
            "self-rating 0.900, lowest rib 0.850: a rank among scans of this model, no Dice; structures found: 2",
        ),
        (rated("a", 0.9, OTHER, liver=0.9), "self-rating - (unlike the training scans); structures found: 1"),
        (rated("a", 0.9, LONG, liver=0.9), "self-rating - (unlike the training scans); structures found: 1"),
        (rated("a", None, rib=None), "self-rating - (no structure was found); structures found: 0"),
    ],
)
def test_one_scan_has_a_line_and_no_table(one, said, capsys):
    show_predictions([one])
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].startswith(said)
    assert "Scans to review first" not in printed


@pytest.mark.parametrize("module", ["tomoseg.terminal.predictions", "tomoseg.evaluation.measure"])
def test_what_predict_shows_and_measures_starts_without_what_it_does_not_use(module):
    heavy = ("torch", "matplotlib", "scipy.stats", "tomoseg.evaluation.metrics")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"

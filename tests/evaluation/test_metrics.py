"""The table of metrics: that every record is complete, and that what is written and documented follows from it."""

import re
from pathlib import Path

import pytest

from tomoseg.errors import ConfigError
from tomoseg.evaluation.metrics import METRICS, VOXEL_METRICS, VoxelMetric, check_metrics, default_metrics, values_of
from tomoseg.evaluation.pairs import VoxelCounts
from tomoseg.evaluation.score_files import FIRST
from tomoseg.evaluation.scores import EMPTIES

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "concepts" / "scores.md"
BETTER = {True: "higher", False: "lower", None: "nearer to 0"}


def test_the_docs_have_a_line_for_each_metric():
    rows = re.findall(r"^\| (.+?) \| `(\w+)` \| .+ \| (.+?) \| (.+?) \|$", DOCS.read_text(encoding="utf-8"), re.M)
    assert rows == [
        (
            metric.english + (f", {metric.unit}" if metric.unit else ""),
            name,
            BETTER[metric.higher_is_better],
            "always" if metric.by_default else "with `--metrics`",
        )
        for name, metric in METRICS.items()
    ]


@pytest.mark.parametrize("name", METRICS)
def test_a_record_is_complete(name):
    metric = METRICS[name]
    assert metric.name("en").strip()
    assert metric.name("fr").strip()
    assert (metric.where_empty == "distance") == (metric.unit == "mm")


def test_the_names_of_two_metrics_differ():
    for lang in ("en", "fr"):
        assert len({f"{metric.name(lang)} {metric.unit}" for metric in METRICS.values()}) == len(METRICS)


def test_what_is_computed_by_default_has_its_column_first():
    assert set(default_metrics()) <= set(FIRST)
    assert {name for name in FIRST if name in METRICS} == set(default_metrics())


def test_voxel_metrics_by_hand():
    # 6 voxels predicted, 4 in the reference, 3 shared, half a millilitre each.
    found = values_of(VoxelCounts(6, 4, 3, 0.5), VOXEL_METRICS, EMPTIES["tomoseg"])
    assert found == {
        "dice": 6 / 10,
        "iou": 3 / 7,
        "surface_dice": None,
        "hd95_mm": None,
        "surface_distance_mm": None,
        "volume_error_ml": 1.0,
        "volume_error_percent": 50.0,
    }
    assert all(isinstance(METRICS[name], VoxelMetric) for name in VOXEL_METRICS)


def test_an_unknown_metric_is_refused_with_the_nearest():
    check_metrics(["dice", "hd95_mm"])
    with pytest.raises(ConfigError, match=r"metrics: expected one of .* got 'hd95'; did you mean 'hd95_mm'\?"):
        check_metrics(["dice", "hd95"])

"""`preprocess`, `evaluate` and `check` give the same whoever does the cases."""

import hashlib

import pytest

from tests.workflows.datasets import write_masks_case
from tests.workflows.predicting import ON_CPU, make_model
from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.options import EvaluateOptions, Spread
from tomoseg.workflows.check import FINDINGS, check
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.preprocess import preprocess

TWO = Spread(on="processes:2")


@pytest.fixture
def dataset(tmp_path):
    for number in range(3):
        write_masks_case(tmp_path / "data" / f"s{number}", ("spleen", "liver", "aorta"), seed=number)
    damaged = tmp_path / "data" / "s1" / "segmentations" / "liver.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:60])
    return tmp_path / "data"


def content(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_check(dataset, tmp_path):
    told = []
    here = check(dataset, tmp_path / "here")
    apart = check(dataset, tmp_path / "apart", lambda name, done, total: told.append((done, total)), spread=TWO)
    assert apart == here
    assert told[:3] == [(1, 3), (2, 3), (3, 3)]
    assert (tmp_path / "apart" / FINDINGS).read_bytes() == (tmp_path / "here" / FINDINGS).read_bytes()


def test_preprocess_and_evaluate_on_it(dataset, tmp_path):
    grid = GridConfig(mode="spacing", spacing_mm=4.0, slice_spacing_mm=7.0, crop="none")
    settings = PreprocessConfig(grid=grid, workers=1, validation_share=0.5, test_share=0.0)
    here = preprocess(dataset, tmp_path / "here", settings)
    apart = preprocess(dataset, tmp_path / "apart", settings, spread=TWO)
    assert (apart.failed.keys(), apart.splits) == (here.failed.keys(), here.splits)
    assert list(here.failed) == ["s1"]
    assert content(tmp_path / "apart") == content(tmp_path / "here")

    model = make_model(tmp_path / "model")
    scored = evaluate(model, tmp_path / "here", compute=ON_CPU)
    told = []
    again = evaluate(
        model,
        tmp_path / "here",
        EvaluateOptions(on="processes:2"),
        compute=ON_CPU,
        on_case=lambda done, total: told.append((done, total)),
    )
    assert again == scored
    assert told == [(1, 1)]


def test_masks_against_masks(dataset, tmp_path):
    here, apart = (evaluate(dataset, dataset, EvaluateOptions(on=on)) for on in ("here", "processes:2"))
    assert apart == here
    assert len(here.scores) + len(here.failed) == 3

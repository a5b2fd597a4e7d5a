"""Bodies in preprocessed datasets: the same in every view, kept when they are there, on the grid that is asked for."""

import numpy as np
import pytest

from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError
from tomoseg.files.nifti import write_nifti
from tomoseg.labels import LabelSet
from tomoseg.masks import structure_mask
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.volume import SourceGrid, as_axial
from tomoseg.workflows.made_bodies import BodyPlan, BodySource, preprocess_bodies

GRID = GridConfig(spacing_mm=6.0, slice_spacing_mm=6.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two bodies of a block of liver with a spleen in it, in two views."""
    folder = tmp_path_factory.mktemp("bodies")
    ids = np.zeros((60, 50, 30), np.uint8)
    ids[10:50, 10:40, 4:26] = 5
    ids[20:30, 20:30, 10:20] = 1
    write_nifti(folder / "block_total.nii.gz", ids, SourceGrid(ids.shape, np.diag([3.0, 3.0, 5.0, 1.0])))
    plan = BodyPlan((BodySource(str(folder / "block_total.nii.gz"), train=1, validation=1),), GRID, ((5.0, 5.0, 6.0),))
    outputs = {view: folder / view for view in ("axial", "coronal")}
    told = []
    preprocess_bodies(plan, outputs, workers=1, on_done=lambda *counts: told.append(counts))
    assert told == [(1, 2), (2, 2)]
    return plan, outputs


def test_cases_are_whole_and_of_the_grid(made):
    _, outputs = made
    data = Preprocessed(outputs["axial"])
    assert [(case.name, case.split) for case in data.cases] == [
        ("block_train_0000", "train"),
        ("block_validation_0000", "validation"),
    ]
    assert data.labels == LabelSet.total()
    case = data.cases[0]
    assert case.grid_spacing_mm == pytest.approx((6, 6, 6), rel=0.1)
    liver, spleen = (structure_mask(case.masks(), data.labels.channel(name)) for name in ("liver", "spleen"))
    assert liver.any() or spleen.any()
    assert not (liver & spleen).any()
    assert case.record.annotated == tuple(range(117))
    inside = case.ct()[liver | spleen]
    assert -60 < np.median(inside) < 260


def test_views_hold_the_same_body(made):
    _, outputs = made
    axial, coronal = (Preprocessed(outputs[view]) for view in ("axial", "coronal"))
    assert coronal.grid.view == "coronal"
    for one, other in zip(axial.cases, coronal.cases, strict=True):
        assert np.array_equal(one.ct(), as_axial(other.ct(), "coronal"))
        assert np.array_equal(one.masks(), as_axial(other.masks(), "coronal"))


def test_what_is_there_is_kept(made):
    plan, outputs = made
    record = outputs["axial"] / "cases" / "block_train_0000" / "case.json"
    before = record.stat().st_mtime_ns
    preprocess_bodies(plan, outputs, workers=1)
    assert record.stat().st_mtime_ns == before


def test_a_grid_without_millimetres_is_refused():
    with pytest.raises(ConfigError, match="expected a grid of mode spacing for synthetic bodies, got native"):
        BodyPlan((), GridConfig(mode="native"))

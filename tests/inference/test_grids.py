"""Scans of other voxels than those that a model of native voxels was trained on."""

from dataclasses import replace

import numpy as np
import pytest

from tests.inference.test_predictor import GRIDS, make_model
from tests.training.tiny import make_scan
from tomoseg.checks.in_distribution import ScanRange
from tomoseg.files.nifti import read_geometry
from tomoseg.grid import to_grid
from tomoseg.inference.grids import averaged_axes, grid_for, resampling_notices
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.segment import preflight, segment
from tomoseg.inference.stages import Stages
from tomoseg.models.folder import Model, load_model
from tomoseg.options import Compute, Request
from tomoseg.volume import Volume

TRAINED_ON = ScanRange(((3.0, 5.0), (3.0, 5.0), (2.0, 4.0)), ((1.0, 900.0),) * 3, ((-300.0, 300.0),) * 3)
CPU = Compute(engine="torch", device="cpu", precision="fp32")


def model_of(grid, trained_on=TRAINED_ON):
    model = make_model(GRIDS[grid])
    return Model(replace(model.record, trained_on=trained_on), model.network)


@pytest.mark.parametrize(
    ("spacing_mm", "expected"),
    [
        ((0.6, 0.6, 0.6), (4.0, 3.0)),  # the middle of each range
        ((0.6, 0.6, 2.5), (4.0, 2.5)),  # slices are like those of training
        ((2.7, 2.7, 2.5), (4.0, 2.5)),  # more than a tenth below
        ((5.6, 5.6, 2.5), (4.0, 2.5)),
        ((4.5, 4.5, 6.0), (4.5, 3.0)),
        ((9.0, 1.0, 3.0), (3.0, 3.0)),  # in plane it is the geometric mean that counts
    ],
)
def test_voxels_outside_of_training_are_brought_inside(spacing_mm, expected):
    grid = grid_for(model_of("native").record, spacing_mm)
    assert (grid.mode, (grid.spacing_mm, grid.slice_spacing_mm)) == ("spacing", expected)
    (note,) = resampling_notices(model_of("native").record, spacing_mm)
    assert (note.kind, note.level) == ("other voxels", "note")
    assert f"resampled to {expected[0]:g} x {expected[0]:g} x {expected[1]:g} mm" in note.message


@pytest.mark.parametrize(
    ("grid", "trained_on", "spacing_mm"),
    [
        ("native", TRAINED_ON, (3.0, 5.0, 4.0)),  # like training, to the edge
        ("native", TRAINED_ON, (2.8, 5.4, 4.3)),  # and a tenth beyond
        ("native", None, (0.6, 0.6, 0.6)),  # nobody knows what it was trained on
        ("spacing", TRAINED_ON, (0.6, 0.6, 0.6)),  # it has a spacing of its own
    ],
)
def test_else_the_grid_is_the_models_own(grid, trained_on, spacing_mm):
    record = model_of(grid, trained_on).record
    assert grid_for(record, spacing_mm) is record.grid
    assert resampling_notices(record, spacing_mm) == ()


@pytest.mark.parametrize(
    ("grid", "spacing_mm", "expected"),
    [
        ("native", (4.0, 4.0, 3.0), (False, False, False)),
        ("native", (0.6, 0.6, 3.0), (True, True, True)),  # brought to others
        ("spacing", (0.6, 9.0, 0.6), (True, False, True)),
        ("spacing", (0.6, 0.6, 60.0), (True, True, False)),
        ("size", (0.6, 0.6, 0.6), (False, False, False)),
    ],
)
def test_finer_voxels_do_not_matter_where_a_grid_averages_them(grid, spacing_mm, expected):
    assert averaged_axes(model_of(grid).record, spacing_mm) == expected


def test_the_network_is_given_voxels_of_training_and_masks_lie_on_the_scans_own():
    hu = np.repeat(np.repeat(make_scan(1)[0], 2, 0), 2, 1)
    fine = Volume.from_array(np.asfortranarray(hu), np.diag([2.0, 2.0, 3.0, 1.0]))
    predictor = Predictor(model_of("native"), CPU)
    found = segment(fine, predictor)
    assert found.mask("s0").shape == fine.shape
    assert "other voxels" in [notice.kind for notice in found.notices]
    scan = predictor.on_grid(fine, Stages())
    assert scan.placement.shape == (24, 22, 8)
    assert np.array_equal(np.concatenate(list(scan.slabs), axis=2), to_grid(fine.hu, scan.placement))
    noticed = preflight(fine, predictor)
    assert [notice.kind for notice in noticed].count("other voxels") == 1
    assert not any("Voxels measure" in notice.message for notice in noticed if notice.kind == "unlike training")


def test_the_packaged_model_finds_jaw_and_cord_on_the_voxels_of_a_diagnostic_ct(test_data):
    found = segment(test_data / "reports" / "neck_1.17mm.nii.gz", "head-neck", Request(statistics=True))
    volumes = {one.structure: one.volume_ml or 0 for one in found.statistics}
    assert volumes["mandible"] > 10  # a crop; on its own voxels 1.6 ml were found, and no cord
    assert volumes["spinal_cord"] > 6


def test_patients_like_those_of_training_keep_their_own_voxels(test_data):
    """As the packaged model was trained, but on native voxels."""
    record = replace(load_model("head-neck/axial").record, grid=GRIDS["native"])
    spacings = [
        read_geometry(path).spacing_mm for path in sorted((test_data / "openkbp").glob("validation/*/ct.nii.gz"))
    ]
    assert len(spacings) == 33
    assert [edges for edges in spacings if grid_for(record, edges) is not record.grid] == []
    assert grid_for(record, (1.0, 1.0, 1.0)) is not record.grid

"""Scores of whole cases against NumPy on the made scans themselves."""

import numpy as np
import pytest
import torch

from tests.training.tiny import LABELS, NATIVE, SHAPE, add_case, finish, make_dataset, make_scan
from tomoseg.config import GridConfig, NetworkConfig
from tomoseg.errors import DatasetError
from tomoseg.evaluation.masks import Scoring
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import on_grid, score_case, score_case_fully, score_cases
from tomoseg.inference.segment import segment
from tomoseg.inference.sinks import ScanSlice
from tomoseg.masks import unpack
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.options import Compute
from tomoseg.volume import Volume

BIAS = (0.03, -0.07, 0.02)
"""So that the untrained network predicts about half of the voxels."""

SPACING = GridConfig(mode="spacing", spacing_mm=1.3, slice_spacing_mm=1.7, crop="body", body_margin_mm=0)


def make_predictor(grid):
    torch.manual_seed(3)
    record = ModelRecord(LABELS, NetworkConfig(channels=(8, 16)), grid, ((-200.0, 300.0),))
    network = record.build().eval()
    with torch.no_grad():
        network.head.weight *= 4
        network.head.bias.copy_(torch.tensor(BIAS))
    return Predictor(Model(record, network), Compute(device="cpu", precision="fp32"))


@pytest.mark.parametrize("grid", [NATIVE, SPACING], ids=["native", "spacing"])
def test_a_score_is_that_of_the_prediction_on_the_scan_s_own_grid(tmp_path, grid):
    hu, masks = make_scan(7)
    masks[1] = False
    add_case(tmp_path, "v", hu, masks, grid, annotated=(0, 1), spacing_mm=(1.0, 1.0, 2.0))
    case = finish(tmp_path, {"v": "validation"}, grid=grid).cases[0]
    predictor = make_predictor(grid)
    segmentation = segment(Volume.from_array(np.asfortranarray(hu), np.diag([1.0, 1.0, 2.0, 1.0])), predictor)
    ball, cube = segmentation.mask("ball"), segmentation.mask("cube")
    score = score_case(predictor, case)
    assert score.case == "v"
    first, second = score.structures
    assert (first.structure, second.structure) == ("ball", "cube")
    assert ball.any()
    assert first.dice == pytest.approx(2 * (ball & masks[0]).sum() / (ball.sum() + masks[0].sum()))
    assert first.values["iou"] == pytest.approx((ball & masks[0]).sum() / (ball | masks[0]).sum())
    assert first.reference_ml == pytest.approx(masks[0].sum() * 0.002)
    assert first.predicted_ml == pytest.approx(ball.sum() * 0.002)
    assert (second.dice, second.reference_ml) == (None, 0)
    assert second.false_positive_ml == pytest.approx(cube.sum() * 0.002)


def test_cases_are_told_in_order(tmp_path):
    data = make_dataset(tmp_path)
    told = []
    scores = score_cases(make_predictor(NATIVE), data.split("validation"), told.append)
    assert [score.case for score in scores] == ["v", "w"]
    assert told == scores


def test_a_training_case_has_no_masks_of_its_own_grid(tmp_path):
    data = make_dataset(tmp_path, SPACING)
    with pytest.raises(DatasetError, match="a: expected masks on the scan's own grid"):
        score_case(make_predictor(SPACING), data.split("train")[0])


def test_a_perfect_prediction_scores_one(tmp_path):
    data = make_dataset(tmp_path)
    case = data.split("validation")[0]

    class ReferenceSlice(ScanSlice):
        def masks(self):
            return case.native_masks_slice(self.number)

    class Oracle(Predictor):
        def slices(self, scan, choices, stages=None, watch=None):
            assert (scan.source.canonical_shape, watch) == (SHAPE, None)
            yield from (
                ReferenceSlice(k, None, scan.placement, SHAPE, choices.labels, choices.offsets) for k in range(SHAPE[2])
            )

    predictor = make_predictor(NATIVE)
    predictor.__class__ = Oracle
    assert [(s.dice, s.values["iou"]) for s in score_case(predictor, case).structures] == [(1, 1)] * 3


def test_a_training_case_of_another_split_is_scored_on_the_network_s_grid(tmp_path):
    grid = SPACING
    hu, masks = make_scan(7)
    add_case(tmp_path, "c", hu, masks, grid, spacing_mm=(1.0, 1.0, 2.0), native=False)
    data = finish(tmp_path, {"c": "train"}, grid=grid)
    predictor = make_predictor(grid)
    with pytest.raises(DatasetError, match="expected masks on the scan's own grid"):
        score_case(predictor, data.cases[0])
    case = data.resplit({"c": "validation"}).cases[0]
    assert case.scored_on_grid
    choices = predictor.choices()
    masks = predictor.grid_slices(on_grid(case), range(case.slices), choices)
    found = np.stack(list(masks.values()), axis=-1)
    given = np.stack([unpack(case.masks_slice(k), 3) for k in range(case.slices)], axis=-1)
    score = score_case(predictor, case)
    full = score_case_fully(predictor, case, Scoring(3.0), choices)
    for channel, (one, other) in enumerate(zip(score.structures, full.structures, strict=True)):
        both = 2 * (found[channel] & given[channel]).sum() / (found[channel].sum() + given[channel].sum())
        assert one.dice == pytest.approx(both)
        assert other.dice == pytest.approx(both)
        voxel_ml = np.prod(case.grid_spacing_mm) / 1000
        assert one.reference_ml == pytest.approx(given[channel].sum() * voxel_ml)
    assert score.spacing_mm == pytest.approx(case.grid_spacing_mm)


def test_a_validation_case_that_lost_its_masks_is_no_training_case(tmp_path):
    hu, masks = make_scan(7)
    add_case(tmp_path, "v", hu, masks, SPACING, native=False)
    case = finish(tmp_path, {"v": "validation"}, grid=SPACING).resplit({"v": "validation"}).cases[0]
    with pytest.raises(DatasetError, match="expected masks on the scan's own grid"):
        score_case(make_predictor(SPACING), case)

"""Networks that look from the front or the side: against the network run on turned scans, and kept logits against
what went in."""

import numpy as np
import pytest
import torch

from tests.inference.test_predictor import CPU, LABELS, make_model
from tests.training.tiny import make_scan
from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError
from tomoseg.grid import place_grid
from tomoseg.inference import predictor as module
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.segment import segment
from tomoseg.inference.stages import Stages
from tomoseg.inference.views import KeptLogits, bytes_of_view
from tomoseg.models.views import Fusion, NetworkWeights
from tomoseg.options import Compute, Request
from tomoseg.views import AXES, ordered
from tomoseg.volume import Volume, as_axial, seen

NATIVE = GridConfig(mode="native", crop="none")
OTHERS = [view for view in AXES if view != "axial"]


def model_of(view, grid=NATIVE, seed=0):
    """Its logits are far from 0, as those of trained networks are: eighths decide hardly anywhere."""
    model = make_model(grid.model_copy(update={"view": view}), seed=seed)
    with torch.no_grad():
        model.network.head.weight *= 30
        model.network.head.bias *= 30
    return model


@pytest.fixture(scope="module")
def volume():
    return Volume.from_array(make_scan(0)[0], np.diag([1.5, 1.5, 2.0, 1.0]))


@pytest.mark.parametrize("view", OTHERS)
def test_kept_logits_come_back_to_within_half_a_step(view):
    logits = np.random.default_rng(0).normal(0, 6, (3, 21, 17, 19)).astype(np.float32)  # c, x, y, z
    logits[0] = -30  # beyond what is kept
    kept = KeptLogits(list(np.moveaxis(seen(logits, view), -1, 0)), view)
    back = np.stack(list(kept.axial()), axis=-1)
    assert np.abs(back - logits.clip(-16, 15.875)).max() <= 1 / 16
    assert kept.nbytes < logits.size


def test_what_is_the_same_everywhere_takes_next_to_nothing():
    kept = KeptLogits([np.full((40, 32, 32), -9.0, np.float32)] * 32, "coronal")
    assert kept.nbytes < 40 * 32**3 / 50


@pytest.mark.parametrize("view", OTHERS)
def test_a_view_is_the_axial_way_on_the_turned_scan(volume, view):
    found = segment(volume, Predictor(model_of(view), CPU))
    turned = Volume(volume.hu.transpose(AXES[view]), volume.seen(view).source)
    plain = segment(turned, Predictor(model_of("axial"), CPU))
    differ = total = 0
    for name in LABELS.names:
        expected = as_axial(plain.mask(name), view)
        differ += np.count_nonzero(found.mask(name) != expected)
        total += expected.size
    assert found.mask("s0").any()
    assert differ / total < 0.02


@pytest.mark.parametrize("view", OTHERS)
def test_grid_edges_are_those_of_the_body(view):
    grid = GridConfig(mode="spacing", spacing_mm=3.0, slice_spacing_mm=4.0, crop="none")
    hu = np.zeros((24, 20, 16), np.int16)
    volume = Volume.from_array(hu, np.diag([1.0, 1.5, 2.0, 1.0]))
    axial = place_grid(volume.hu, volume.spacing_mm, grid)
    turned = volume.seen(view)
    placed = place_grid(turned.hu, turned.spacing_mm, grid.model_copy(update={"view": view}))
    assert axial.shape == (8, 10, 8)
    assert placed.shape == ordered(axial.shape, view)


def shares(*of):
    return {name: of for name in LABELS.names}


def test_each_structure_is_decided_by_whom_its_shares_say(volume):
    models = [model_of("axial"), model_of("coronal", seed=1)]
    alone = [segment(volume, Predictor(one, CPU)) for one in models]
    mixed = shares(1.0, 0.0) | {"s3": (0.0, 1.0)}
    fusion = Fusion(("axial", "coronal"), (NetworkWeights(None, mixed),))
    found = segment(volume, Predictor(models, CPU, fusion))
    assert np.array_equal(found.mask("s2"), alone[0].mask("s2"))
    assert np.array_equal(found.mask("s3"), alone[1].mask("s3"))
    assert not np.array_equal(found.mask("s3"), alone[0].mask("s3"))


def test_short_scans_have_shares_of_their_own(volume):
    models = [model_of("axial"), model_of("coronal", seed=1)]
    height_mm = volume.shape[2] * volume.spacing_mm[2]
    fusion = Fusion(
        ("axial", "coronal"), (NetworkWeights(height_mm, shares(1.0, 0.0)), NetworkWeights(None, shares(0.0, 1.0)))
    )
    found = segment(volume, Predictor(models, CPU, fusion))
    assert np.array_equal(found.mask("s1"), segment(volume, Predictor(models[0], CPU)).mask("s1"))
    lower = Fusion(
        ("axial", "coronal"),
        (NetworkWeights(height_mm - 0.1, shares(1.0, 0.0)), NetworkWeights(None, shares(0.0, 1.0))),
    )
    found = segment(volume, Predictor(models, CPU, lower))
    assert np.array_equal(found.mask("s1"), segment(volume, Predictor(models[1], CPU)).mask("s1"))


def test_some_structures_are_found_only_when_asked_for(volume):
    fusion = Fusion(("axial", "coronal"), (NetworkWeights(None, shares(0.5, 0.5)),), left_out=("s4", "s5"))
    predictor = Predictor([model_of("axial"), model_of("coronal", seed=1)], CPU, fusion)
    usual = segment(volume, predictor)
    assert usual.labels.names == tuple(name for name in LABELS.names if name not in ("s4", "s5"))
    assert [n.kind for n in usual.notices if "s4, s5" in str(n)] == ["structures left out"]
    everything = segment(volume, predictor, Request(all=True))
    assert everything.labels == LABELS
    assert "structures left out" not in [n.kind for n in everything.notices]
    named = segment(volume, predictor, Request(roi_subset=("s4",)))
    assert np.array_equal(named.mask("s4"), everything.mask("s4"))


def test_memory_of_other_views_counts(volume, monkeypatch):
    """What is held, beside what an axial network takes: all logits of a coronal one."""
    held = {}
    for view in ("axial", "coronal"):
        predictor = Predictor(model_of(view), Compute(device="cpu", precision="fp32", max_memory=10**10))
        scan = predictor.on_grid(volume, Stages())
        with monkeypatch.context() as patch:
            patch.setattr(
                module, "batch_that_fits", lambda limit, result, each, most, v=view: held.update({v: result}) or 1
            )
            predictor._prepared(predictor.engines(), [view], scan, predictor.choices())
        shape = scan.placement.shape
    assert shape == (24, 22, 8)
    slices = {"axial": 24 * 24, "coronal": 24 * 8}  # pixels, padded; of the 11 logits of each two slices are held
    whole = {view: held[view] - 2 * 4 * 11 * pixels for view, pixels in slices.items()}
    assert whole["coronal"] - whole["axial"] == bytes_of_view("coronal", shape, 11)


@pytest.mark.parametrize("structures", [1, 2])
def test_what_a_network_is_unsure_of_everywhere_takes_no_more_than_is_reckoned_with(structures, rng):
    shape = (48, 64, 40)
    slices = [rng.normal(-5, 2, (structures, 48, 40)).astype(np.float32) for _ in range(64)]
    kept = KeptLogits(slices, "coronal")
    voxels = 48 * 64 * 40
    assert 0.5 * structures * voxels < kept.nbytes  # noise is hardly compressed
    assert kept.nbytes < bytes_of_view("coronal", shape, structures) - 2 * voxels


def test_a_tall_scan_s_coronal_slices_count_with_their_height(monkeypatch):
    tall = Volume.from_array(np.zeros((16, 16, 400), np.int16), np.eye(4))
    of_a_slice = []
    monkeypatch.setattr(module, "batch_that_fits", lambda limit, result, each, most: of_a_slice.append(each) or 1)
    for view in AXES:
        predictor = Predictor(model_of(view), Compute(device="cpu", precision="fp32", max_memory=10**10))
        scan = predictor.on_grid(tall, Stages())
        predictor._prepared(predictor.engines(), [view], scan, predictor.choices())
    pixel = 3 * 4 * 11 + 4 * 9 * 8  # three batches of logits of 11 structures, and feature maps
    assert of_a_slice == [pixel * 16 * 16, pixel * 16 * 400, pixel * 16 * 400]


def test_a_case_of_one_view_is_not_given_to_a_model_of_another(volume):
    predictor = Predictor(model_of("sagittal"), CPU)
    on_grid = predictor.on_grid(volume, Stages())
    case = OnGrid([volume.hu], on_grid.placement, on_grid.source, "coronal")
    with pytest.raises(
        ConfigError, match="expected a model for coronal slices, as the dataset has them, got one for sag"
    ):
        next(predictor.slices(case, predictor.choices()))

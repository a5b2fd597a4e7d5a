"""The predictor with random weights, against the network and interpolation run plainly on whole volumes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from tests.training.tiny import make_scan
from tomoseg.config import GridConfig, NetworkConfig
from tomoseg.errors import ConfigError, InputError, LabelError
from tomoseg.grid import AIR_HU, Placement, apply_windows, place_grid, to_grid
from tomoseg.inference import memory
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.segment import segment
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet, Structure
from tomoseg.masks import pack
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.options import Compute, Request
from tomoseg.volume import Volume

LABELS = LabelSet(tuple(Structure(2 * c + 1, f"s{c}") for c in range(11)))
WINDOWS = ((-200.0, 300.0), (-1000.0, 0.0))
CPU = Compute(device="cpu", precision="fp32")
GRIDS = {
    "native": GridConfig(mode="native", crop="none"),
    "native_body": GridConfig(mode="native", crop="body", body_margin_mm=1.0),
    "size": GridConfig(mode="size", size=(16, 13), crop="none"),
    "spacing": GridConfig(mode="spacing", spacing_mm=2.1, slice_spacing_mm=3.0, body_margin_mm=2.0),
    "finer": GridConfig(mode="spacing", spacing_mm=0.9, slice_spacing_mm=1.0, body_margin_mm=2.0),
}


def make_model(grid, labels=LABELS, seed=0):
    """A network of random weights whose logits are above 0 in half of a scan's voxels, for every structure."""
    torch.manual_seed(seed)
    record = ModelRecord(labels, NetworkConfig(channels=(8, 16, 16)), grid, WINDOWS)
    network = record.build()
    with torch.no_grad():
        network.head.weight *= 40
        images = torch.from_numpy(apply_windows(make_scan(0)[0], WINDOWS)).permute(3, 0, 1, 2)[:, :, :24, :20]
        network.head.bias -= network.eval()(images).transpose(0, 1).flatten(1).median(dim=1).values
    return Model(record, network)


def make_predictor(grid="native", **compute):
    return Predictor(make_model(GRIDS[grid]), Compute(**{"device": "cpu", "precision": "fp32"} | compute))


def label_map(volume, predictor, **request):
    return segment(volume, predictor, Request(ml=True, **request)).result


def predict_slice(predictor, hu, spacing_mm=(1.5, 1.5)):
    return predictor.predict_batch(hu[None], spacing_mm)[0]


@pytest.fixture(scope="module")
def volume():
    """A body with margins of air on all sides, above and below too; odd sizes, a file order of its own."""
    hu = np.full((31, 27, 14), -1000, np.int16)
    hu[4:28, 3:25, 3:11] = make_scan(0)[0]
    affine = np.diag([1.5, 1.5, 2.0, 1.0])[[1, 0, 2, 3]] * [1, -1, 1, 1]
    return Volume.from_array(np.asfortranarray(hu.transpose(1, 0, 2)), affine)


def plain_logits(model, volume):
    """Logits in the grid's box: every grid slice through the network, then one trilinear interpolation."""
    placement = place_grid(volume.hu, volume.spacing_mm, model.record.grid)
    on_grid = to_grid(volume.hu, placement)
    gx, gy, _ = on_grid.shape
    padded = np.full((-(-gx // 4) * 4, -(-gy // 4) * 4, on_grid.shape[2]), AIR_HU, np.float32)
    padded[:gx, :gy] = on_grid
    windows = [np.clip((padded - low) / (high - low), 0, 1) for low, high in WINDOWS]
    images = torch.from_numpy(np.stack(windows).transpose(3, 0, 1, 2).astype(np.float32))
    with torch.no_grad():
        logits = model.network(images)[:, :, :gx, :gy].permute(1, 2, 3, 0)[None]
    return interpolate(logits, size=placement.extent, mode="trilinear", align_corners=False)[0].numpy(), placement


@pytest.mark.parametrize("grid", GRIDS)
def test_volume_is_the_network_interpolated_and_pasted_into_the_scan(volume, grid):
    expected, placement = plain_logits(make_model(GRIDS[grid]), volume)
    if "none" not in GRIDS[grid].crop:
        assert min(placement.start) > 0
    segmentation = segment(volume, make_predictor(grid)).result
    assert segmentation.grid is volume.source
    box, clear = placement.box(), np.abs(expected) > 1e-4
    assert clear.mean() > 0.99
    outside = np.ones(volume.shape, bool)
    outside[box] = False
    for channel, structure in enumerate(LABELS):
        mask = segmentation.mask(structure.name)
        assert mask.shape == volume.shape
        assert not mask[outside].any()
        assert np.array_equal(mask[box][clear[channel]], expected[channel][clear[channel]] > 0)
    assert ((expected > 0).mean(axis=(1, 2, 3)) > 0.05).all()
    assert ((expected > 0).mean(axis=(1, 2, 3)) < 0.95).all()


@pytest.mark.parametrize("grid", GRIDS)
def test_label_map_is_the_highest_positive_logit_inside_its_mask(volume, grid):
    expected, placement = plain_logits(make_model(GRIDS[grid]), volume)
    predictor = make_predictor(grid)
    found, segmentation = label_map(volume, predictor), segment(volume, predictor)
    highest = np.sort(expected, axis=0)
    clear = (highest[-1] - highest[-2] > 1e-4) & (np.abs(highest[-1]) > 1e-4)
    wanted = np.where(highest[-1] > 0, np.array(LABELS.ids)[expected.argmax(axis=0)], 0)
    assert np.array_equal(found.values[placement.box()][clear], wanted[clear])
    covered = np.zeros(volume.shape, bool)
    for structure in LABELS:
        mask = segmentation.mask(structure.name)
        assert mask[found.mask(structure.name)].all()
        covered |= mask
    assert np.array_equal(found.values > 0, covered)


@pytest.mark.parametrize("grid", ["native", "spacing"])
def test_batch_size_does_not_matter(volume, grid):
    maps = [label_map(volume, make_predictor(grid, batch_size=size)).values for size in (1, 3, 20)]
    assert maps[0].any()
    assert np.array_equal(maps[0], maps[1])
    assert np.array_equal(maps[0], maps[2])


def test_fewer_structures_are_the_same_channels(volume):
    predictor = make_predictor("spacing")
    whole, some = segment(volume, predictor), segment(volume, predictor, Request(roi_subset=("s9", "s2")))
    assert some.labels.names == some.result.labels.names == ("s2", "s9")
    assert some.labels.ids == (5, 19)
    for name in ("s2", "s9"):
        assert whole.mask(name).any()
        assert np.array_equal(whole.mask(name), some.mask(name))
    assert len(predictor.engines()) == 1
    assert predictor.engines(some.labels) is predictor.engines(some.labels) is not predictor.engines()


@pytest.mark.parametrize("grid", GRIDS)
def test_a_batch_of_one_slice_is_a_volume_of_one(grid):
    hu = np.asfortranarray(make_scan(0)[0][:, :, 4])
    predictor = make_predictor(grid)
    found = predict_slice(predictor, hu)
    assert found.shape == (11, *hu.shape)
    assert found.any()
    thickness = GRIDS[grid].slice_spacing_mm or 1.0
    whole = Volume.from_array(hu[:, :, None], np.diag([1.5, 1.5, thickness, 1.0]))
    assert np.array_equal(found, segment(whole, predictor).result.slice(0))


def test_slices_of_a_batch_are_not_mixed():
    hu = np.moveaxis(make_scan(0)[0], 2, 0)
    grid = GridConfig(mode="spacing", spacing_mm=2.0, slice_spacing_mm=3.0, crop="none")
    predictor = Predictor(make_model(grid), CPU)
    alone = np.stack([predict_slice(predictor, one) for one in hu])
    together = predictor.predict_batch(hu, (1.5, 1.5))
    assert (together != alone).mean() < 1e-3  # a mean of HU may round the other way
    assert (alone[1:] != alone[:-1]).mean() > 1e-2


@pytest.mark.parametrize("network", [{"slices": 3}, {"dims": 3, "tile": (8, 8, 4)}])
def test_slices_of_a_batch_are_no_neighbours(network):
    torch.manual_seed(0)
    record = ModelRecord(LABELS, NetworkConfig(channels=(8, 16, 16), **network), GRIDS["native"], WINDOWS)
    predictor = Predictor(Model(record, record.build()), CPU)
    hu = np.moveaxis(make_scan(0)[0], 2, 0)
    alone = np.stack([predict_slice(predictor, one) for one in hu])
    assert alone.any()
    assert np.array_equal(predictor.predict_batch(hu, (1.5, 1.5)), alone)


def test_a_slice_of_the_grid_is_that_of_a_native_scan(volume):
    predictor = make_predictor("native")
    for request in (Request(), Request(threshold=("0.3",), roi_subset=("s1", "s7")), Request(smoothing=0.8)):
        segmentation = segment(volume, predictor, request).result
        choices = predictor.choices(request)
        wanted = (0, 5, volume.shape[2] - 1)
        shape = volume.shape
        scan = OnGrid([volume.hu[:, :, :7], volume.hu[:, :, 7:]], Placement((0, 0, 0), shape, shape), volume.source)
        found = predictor.grid_slices(scan, wanted, choices)
        assert tuple(found) == wanted
        for k, masks in found.items():
            assert np.array_equal(masks, segmentation.slice(k))


@pytest.mark.parametrize("ml", [False, True])
def test_progress_is_told_after_each_slice_of_the_scan(volume, ml):
    told = []
    segment(volume, make_predictor("spacing"), Request(ml=ml), progress=lambda *slices: told.append(slices))
    assert told == [(k + 1, volume.shape[2]) for k in range(volume.shape[2])]


def test_inference_mode_ends_before_a_slice_is_handed_out(volume):
    predictor = make_predictor("native", engine="torch")
    slices = 0
    for found in predictor.slices(predictor.on_grid(volume, Stages()), predictor.choices()):
        assert not torch.is_inference_mode_enabled()
        assert torch.ones(2, requires_grad=True).sum().requires_grad
        assert found.number == slices
        slices += found.masks().shape == (2, *volume.shape[:2])
    assert slices == volume.shape[2]


def test_bf16_is_near_fp32(volume):
    model = make_model(GRIDS["native"])
    exact, rough = (segment(volume, model, compute=Compute(device="cpu", precision=p)) for p in ("fp32", "bf16"))
    differing = np.mean([(exact.mask(n) != rough.mask(n)).mean() for n in LABELS.names])
    assert differing < 0.02


def test_air_alone_is_predicted_too():
    hu = np.full((9, 9, 3), -1024, np.int16)
    predictor = make_predictor("spacing")
    found = predictor.predict_batch(np.moveaxis(hu, 2, 0), (1.5, 1.5))
    assert found.shape == (3, 11, 9, 9)
    assert pack(found[0]).shape == (2, 9, 9)


def test_unknown_device_and_structure_are_refused():
    with pytest.raises(ConfigError, match=r"expected a device of this machine, got 'abacus'"):
        make_predictor(device="abacus").engines()
    with pytest.raises(LabelError, match=r"expected one of 11 known names, got 's99'"):
        make_predictor().choices(Request(roi_subset=("s99",)))


def test_a_threshold_is_where_a_structure_begins(volume):
    logits, placement = plain_logits(make_model(GRIDS["spacing"]), volume)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    thresholds = {name: float(np.quantile(probabilities[LABELS.channel(name)], 0.3)) for name in ("s0", "s3")}
    request = Request(threshold=tuple(f"{name}={value!r}" for name, value in thresholds.items()))
    segmentation = segment(volume, make_predictor("spacing"), request)
    for channel, name in enumerate(LABELS.names):
        found = segmentation.mask(name)[placement.box()]
        limit = thresholds.get(name, 0.5)
        clear = np.abs(probabilities[channel] - limit) > 1e-4
        assert name not in thresholds or 0.6 < found.mean() < 0.8
        assert np.array_equal(found[clear], probabilities[channel][clear] > limit)


@pytest.mark.parametrize("threshold", [(), ("s0=0.1", "s3=0.9")])
def test_confidence_is_the_probability_that_was_decided_by(volume, threshold):
    logits, placement = plain_logits(make_model(GRIDS["spacing"]), volume)
    expected = np.zeros((len(LABELS), *volume.shape))
    expected[(slice(None), *placement.box())] = 255 / (1 + np.exp(-logits.astype(np.float64)))
    predictor = make_predictor("spacing")
    found = segment(volume, predictor, Request(threshold=threshold, confidence=True))
    without = segment(volume, predictor, Request(threshold=threshold))
    assert without.confidence is None
    maps = found.confidence
    for channel, name in enumerate(LABELS.names):
        assert np.abs(maps.map(name) - expected[channel]).max() <= 0.51
        assert np.array_equal(found.mask(name), without.mask(name))
    assert np.array_equal(found.mask("s1"), segment(volume, predictor).mask("s1"))
    highest = segment(volume, predictor, Request(threshold=threshold, confidence=True, ml=True)).confidence
    assert np.abs(highest.map("confidence") - expected.max(axis=0)).max() <= 0.51
    with pytest.raises(LabelError, match="expected one of 11 known names, got 's12'"):
        maps.map("s12")


def test_with_flips_a_scan_and_its_mirror_image_have_mirrored_masks():
    hu = make_scan(2)[0][:24, :20]  # edges that need no padding, which would not lie the other way round
    scan, mirror = (Volume.from_array(np.asfortranarray(each), np.eye(4)) for each in (hu, hu[::-1]))
    predictor = make_predictor()
    for flips, least, most in ((True, 0, 1e-3), (False, 0.05, 1)):
        found, other = (segment(each, predictor, Request(flips=flips)) for each in (scan, mirror))
        differing = np.mean([(found.mask(name) != other.mask(name)[::-1]).mean() for name in LABELS.names])
        assert least <= differing <= most


SIDED = LabelSet.from_names(["liver", *(f"{name}_{side}" for side in ("left", "right") for name in "abcde")])


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("slices", [1, 3])
def test_with_flips_left_structures_of_a_scan_are_the_right_ones_of_its_mirror_image(view, slices):
    torch.manual_seed(0)
    network = NetworkConfig(channels=(8, 16, 16), slices=slices)
    record = ModelRecord(SIDED, network, GridConfig(mode="native", crop="none", view=view), WINDOWS)
    built = record.build()
    with torch.no_grad():
        built.head.weight *= 40
    predictor = Predictor(Model(record, built), CPU)
    hu = make_scan(2)[0][:24, :20]  # edges that need no padding, which would not lie the other way round
    scan, mirror = (Volume.from_array(np.asfortranarray(each), np.eye(4)) for each in (hu, hu[::-1]))
    request = Request(flips=True, confidence=True, roi_subset=("a_left", "c_right", "liver"))
    other = Request(flips=True, confidence=True, roi_subset=("a_right", "c_left", "liver"))
    found, mirrored = segment(scan, predictor, request), segment(mirror, predictor, other)
    for name, there in (("a_left", "a_right"), ("c_right", "c_left"), ("liver", "liver")):
        one, two = found.confidence.map(name), mirrored.confidence.map(there)[::-1]
        assert np.abs(one - two).max() <= 1.01  # of 255
        assert one.std() > 1


def test_flips_are_refused_where_a_structure_has_no_counterpart():
    for name in ("kidney_left", "Right Kidney", "parotid-L", "rein gauche"):
        sided = LabelSet((Structure(1, "liver"), Structure(2, name)))
        with pytest.raises(ConfigError, match=f"of every structure, for flips, got none for {name}"):
            Predictor(make_model(GRIDS["native"], sided), CPU).choices(Request(flips=True))


def test_batches_shrink_to_the_memory_allowed_and_change_nothing(volume, monkeypatch):
    expected = label_map(volume, make_predictor()).values
    for room, batch in ((1.5, 1), (3.5, 3), (100, 4)):
        predictor = make_predictor(max_memory=8_000_000_000, batch_size=4)
        pixels = 32 * 28  # 31 x 27 padded to multiples of 4
        each = (3 * 4 * 11 + 4 * 9 * 8) * pixels
        taken = 8 * 10**9 - 2 * volume.hu.size - 2 * 4 * 11 * pixels - int(room * each)
        monkeypatch.setattr(memory, "psutil", SimpleNamespace(Process=lambda t=taken: _process(t)))
        sizes = []
        (engine,) = predictor.engines()
        run = engine.run
        monkeypatch.setattr(engine, "run", lambda images, r=run, s=sizes: s.append(len(images)) or r(images))
        assert np.array_equal(label_map(volume, predictor).values, expected)
        assert max(sizes) == batch
    monkeypatch.setattr(memory, "psutil", SimpleNamespace(Process=lambda: _process(8 * 10**9)))
    with pytest.raises(InputError, match=r"expected a scan that fits into 8\.00 GB, got one .* raise --max-memory"):
        label_map(volume, make_predictor(max_memory=8_000_000_000))


def test_each_further_model_takes_room_for_its_logits(volume, monkeypatch):
    model = make_model(GRIDS["native"])
    pixels = 32 * 28
    one, two = ((batches * 4 * 11 + 4 * 9 * 8) * pixels for batches in (3, 4))  # bytes of a slice in a batch
    taken = 8 * 10**9 - 2 * volume.hu.size - 2 * 4 * 11 * pixels - 3 * one
    monkeypatch.setattr(memory, "psutil", SimpleNamespace(Process=lambda: _process(taken)))
    assert 3 * one // two == 2
    for models, batch in ((model, 3), ([model, model], 2)):
        limited = Compute(device="cpu", precision="fp32", max_memory=8_000_000_000, batch_size=4)
        predictor = Predictor(models, limited)
        sizes = []
        for engine in predictor.engines():
            run = engine.run
            monkeypatch.setattr(engine, "run", lambda images, r=run, s=sizes: s.append(len(images)) or r(images))
        label_map(volume, predictor)
        assert max(sizes) == batch


def _process(rss):
    return SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=rss))

"""Tasks of TotalSegmentator against its rules, applied plainly to whole arrays."""

import numpy as np
import pytest
from scipy import ndimage

from tests.inference.nnunet.test_predictor import FP32, scan_of
from tests.nnunet_files import Made, label_map, weights_of, write_training
from tomoseg.errors import ConfigError, InputError, LabelError
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.models.parts import save_parts
from tomoseg.nnunet import Box, TaskRules
from tomoseg.options import Compute, Request
from tomoseg.volume import Volume
from tomoseg.workflows.import_model import Known, import_model

AFFINE = np.array([[-1.6, 0, 0, 9], [0, 0, 2.5, 3], [0, 1.9, 0, -4], [0, 0, 0, 1.0]])
"""Of the file: its first axis runs to the left, its second to superior."""
SPACING = (1.6, 2.5, 1.9)
FINE, COARSE = (2.0, 2.0, 3.0), (4.0, 4.0, 4.0)
SHAPE = (34, 21, 19)
EXACT = Request(ml=True, resampling="exact")
FINDER = {"patch": (8, 8, 8), "spacing": COARSE, "labels": {"background": 0, "heart": 1, "lung": 2}}


@pytest.fixture(scope="module", autouse=True)
def no_exports():
    """An export takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)
        yield


def model_of(folder, made=None, **rules):
    """A task with random weights."""
    training = write_training(folder / "nn", made or Made())
    known = Known(plan={"axes": "ras", "rules": TaskRules(task="made", **rules)})
    import_model(training, folder / "model", known=known)
    return folder / "model"


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    return model_of(tmp_path_factory.mktemp("finder"), Made(**FINDER), voxels_mm=COARSE)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return model_of(tmp_path_factory.mktemp("plain"), voxels_mm=FINE)


@pytest.fixture(scope="module")
def scan():
    values, _ = scan_of(SHAPE, AFFINE)
    return Volume.from_array(values, AFFINE)


def exactly(made, hu, voxels_mm, weights=None):
    """Labels of a scan that is brought to some voxels and back, in RAS+ order."""
    there = ndimage.zoom(
        hu.astype(np.float64), [np.float32(own) / to for own, to in zip(SPACING, voxels_mm, strict=True)],
        order=1, mode="nearest",
    ).astype(np.int32)  # fmt: skip
    labels = label_map(made, [weights or weights_of(made)], there.transpose(2, 1, 0), voxels_mm[::-1])[0]
    labels = labels.transpose(2, 1, 0)
    return ndimage.zoom(labels, np.array(hu.shape) / labels.shape, order=0, mode="nearest")


def box_around(mask, margin_mm):
    places = np.argwhere(mask)
    margins = [int(margin_mm / float(np.float32(edge))) for edge in SPACING]
    low = np.maximum(places.min(0) - margins, 0)
    high = np.minimum(places.max(0) + 1 + margins, mask.shape)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def agrees(found, expected):
    """But for voxels whose two best logits are as good as alike."""
    assert found.shape == expected.shape
    assert len(np.unique(expected)) > 2
    assert (found != expected).mean() < 2e-3


def test_exact_brings_the_scan_to_the_tasks_voxels_and_the_nearest_label_back(plain, scan):
    found = segment(scan, plain, EXACT, compute=FP32)
    expected = exactly(Made(), scan.hu, FINE)
    agrees(found.result.values, expected)
    masks = segment(scan, plain, Request(resampling="exact"), compute=FP32)
    for structure in found.labels:
        assert np.array_equal(masks.mask(structure.name), found.result.values == structure.id)
    smooth = segment(scan, plain, Request(ml=True), compute=FP32).result.values
    assert (smooth != found.result.values).mean() > 0.01


def test_probabilities_are_those_of_the_nearest_voxel(plain, scan):
    found = segment(scan, plain, Request(resampling="exact", confidence=True), compute=FP32)
    shares = np.stack([found.confidence.map(name) for name in found.labels.names])
    labels = segment(scan, plain, EXACT, compute=FP32).result.values
    inside = labels > 0
    winner = 1 + shares.argmax(0)
    assert (winner == labels)[inside].mean() > 0.99
    assert shares.max(0)[~inside].max() <= 128


def test_progress_counts_to_the_end(plain, scan):
    told = []
    segment(scan, plain, EXACT, compute=FP32, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (21, 21)
    assert told == sorted(told)


def test_the_network_is_shown_the_box_of_what_a_coarser_model_finds(finder, scan, tmp_path):
    box = Box(finder=str(finder), structures=("heart",), margin_mm=3.0)
    model = model_of(tmp_path, voxels_mm=FINE, box=box)
    hu = scan.hu.copy()
    hu[:, :, 12:] = -1000
    scan = Volume(hu, scan.source)
    heart = exactly(Made(**FINDER), hu, COARSE) == 1
    cut = box_around(heart, 3.0)
    expected = np.zeros(hu.shape, np.uint8)
    expected[cut] = exactly(Made(), hu[cut], FINE)
    told = []
    found = segment(scan, model, EXACT, compute=FP32, progress=lambda *slices: told.append(slices))
    agrees(found.result.values, expected)
    assert told[-1] == (42, 42)
    assert told == sorted(told)
    smooth = segment(scan, model, Request(ml=True), compute=FP32)
    outside = np.ones(hu.shape, bool)
    outside[cut] = False
    assert not smooth.result.values[outside].any()
    assert smooth.result.values.any()
    assert "box" in smooth.seconds


def test_what_reaches_the_box_is_told(scan, tmp_path):
    finder = model_of(tmp_path / "finder", Made(**FINDER), voxels_mm=COARSE, largest=("lung",))
    lung = segment(scan, finder, EXACT, compute=FP32).result.mask("lung")
    x, y, z = box_around(lung, 0)
    assert (x.start, y.start > 0, z.start > 0) == (0, True, True)
    assert (x.stop < 34, y.stop < 19, z.stop) == (True, True, 21)
    model = model_of(tmp_path, voxels_mm=FINE, box=Box(finder=str(finder), structures=("lung",), margin_mm=0))
    found = segment(scan, model, EXACT, compute=FP32)
    values = found.result.values[x, y, z]
    cut = np.concatenate([values[-1].ravel(), values[:, 0].ravel(), values[:, -1].ravel(), values[:, :, 0].ravel()])
    reaching = [one.name for one in found.labels if (cut == one.id).any()]
    assert reaching
    (told,) = [notice.message for notice in found.notices if notice.kind == "cut by the box"]
    assert told.startswith(f"{', '.join(reaching)} reach")


def test_without_a_box_nothing_is_looked_for(scan, tmp_path):
    never = model_of(tmp_path / "never", Made(**FINDER), voxels_mm=COARSE, least_mm3={"lung": 1e9})
    model = model_of(tmp_path, voxels_mm=FINE, box=Box(finder=str(never), structures=("lung",)))
    found = segment(scan, model, Request(confidence=True), compute=FP32)
    assert found.result.is_empty
    assert not found.confidence.map("liver").any()
    assert {"no box", "nothing found"} <= {notice.kind for notice in found.notices}


def test_structures_alone_are_looked_for_in_a_box_of_their_own(finder, scan, tmp_path):
    made = Made(labels={"background": 0, "heart": 1, "lung": 2})
    model = model_of(tmp_path, made, voxels_mm=FINE, subset_finder=str(finder))
    predictor = open_predictor(model, FP32)
    assert predictor.choices(EXACT).box is None
    assert predictor.choices(Request()).box is None
    request = EXACT.model_copy(update={"roi_subset": ("heart",)})
    choices = predictor.choices(request)
    assert (choices.box.rule.structures, choices.box.rule.margin_mm) == (("heart",), 20.0)
    found = segment(scan, predictor, request)
    heart = exactly(Made(**FINDER), scan.hu, COARSE) == 1
    cut = box_around(heart, 20.0)
    expected = np.zeros(scan.hu.shape, np.uint8)
    expected[cut] = exactly(made, scan.hu[cut], FINE) == 1
    assert (found.result.values != expected).mean() < 2e-3


def smoothly(made, hu):
    """Labels of a scan as nnU-Net has them, in RAS+ order."""
    return label_map(made, [weights_of(made)], hu.transpose(2, 1, 0), SPACING[::-1])[0].transpose(2, 1, 0)


def test_smooth_too_looks_for_structures_alone_in_a_box(finder, tmp_path):
    made = Made(labels={"background": 0, "heart": 1, "lung": 2})
    model = model_of(tmp_path, made, voxels_mm=FINE, subset_finder=str(finder))
    values, _ = scan_of((34, 64, 19), AFFINE)
    values[:, 20:] = 0  # of which nnU-Net sees nothing
    scan = Volume.from_array(values, AFFINE)
    hu = scan.hu
    found = segment(scan, model, Request(ml=True, roi_subset=("heart",)), compute=FP32)
    cut = box_around(exactly(Made(**FINDER), hu, COARSE) == 1, 20.0)
    assert 20 < cut[2].stop < 40
    expected = np.zeros(hu.shape, np.uint8)
    expected[cut] = smoothly(made, hu[cut]) == 1
    assert (found.result.values != expected).mean() < 2e-3
    assert expected.any()
    assert "box" in found.seconds


def test_smooth_looks_everywhere_if_the_finder_misses_a_structure_or_is_not_there(scan, tmp_path, monkeypatch):
    made = Made(labels={"background": 0, "heart": 1, "lung": 2})
    never = model_of(tmp_path / "never", Made(**FINDER), voxels_mm=COARSE, least_mm3={"lung": 1e9})
    request, told = Request(ml=True, roi_subset=("heart", "lung")), []
    expected = smoothly(made, scan.hu)
    model = model_of(tmp_path / "missed", made, voxels_mm=FINE, subset_finder=str(never))
    found = segment(scan, model, request, compute=FP32, progress=lambda *slices: told.append(slices))
    agrees(found.result.values, expected)
    assert told[-1] == (42, 42)
    assert not {"no box", "whole scan"} & {notice.kind for notice in found.notices}
    monkeypatch.setattr("tomoseg.models.packaged.fetched_models", dict)
    alone = model_of(tmp_path / "alone", made, voxels_mm=FINE, subset_finder="total-6mm")
    found = segment(scan, alone, request, compute=FP32)
    agrees(found.result.values, expected)
    (notice,) = [notice for notice in found.notices if notice.kind == "whole scan"]
    assert (notice.level, "tomoseg fetch total-6mm" in notice.message) == ("note", True)
    with pytest.raises(ConfigError, match="expected the model total-6mm, which finds the box for"):
        segment(scan, alone, request.model_copy(update={"resampling": "exact"}), compute=FP32)


def test_what_finds_boxes_itself_is_not_asked_twice(scan, tmp_path):
    model = model_of(tmp_path, voxels_mm=FINE, subset_finder="made")
    assert open_predictor(model, FP32).choices(Request(roi_subset=("liver",))).box is None


def test_pieces_are_those_that_the_makers_keep(scan, tmp_path):
    rules = {"largest": ("liver",), "least_mm3": {"spleen": 600.0}}
    model = model_of(tmp_path, voxels_mm=FINE, **rules)
    hu = scan.hu
    there = ndimage.zoom(hu.astype(float), [a / b for a, b in zip(SPACING, FINE, strict=True)], order=1, mode="nearest")
    labels = label_map(Made(), [weights_of(Made())], there.astype(np.int32).transpose(2, 1, 0), FINE[::-1])[0]
    labels = labels.transpose(2, 1, 0)
    for value in (1, 2):
        pieces, count = ndimage.label(labels == value)
        sizes = [int((pieces == n).sum()) for n in range(1, count + 1)]
        keep = [sizes.index(max(sizes)) + 1] if value == 1 else [n + 1 for n in range(count) if sizes[n] > 600 / 12]
        assert 0 < len(keep) < count
        labels[(labels == value) & ~np.isin(pieces, keep)] = 0
    expected = ndimage.zoom(labels, np.array(hu.shape) / labels.shape, order=0, mode="nearest")
    found = segment(scan, model, EXACT.model_copy(update={"confidence": True}), compute=FP32)
    agrees(found.result.values, expected)
    whole = segment(scan, model, Request(ml=True), compute=FP32)
    assert (whole.result.values == 1).sum() > (found.result.values == 1).sum()


def test_later_parts_take_voxels_with_what_is_not_asked_for_too(scan, tmp_path):
    names = (("liver", "spleen"), ("aorta", "brain", "colon"))
    mades = []
    for number, of_part in enumerate(names):
        mades.append(Made(labels={"background": 0} | {name: k for k, name in enumerate(of_part, start=1)}))
        training = write_training(tmp_path / f"nn{number}", mades[-1])
        rules = TaskRules(task="made", voxels_mm=FINE)
        known = Known(plan={"axes": "ras", "rules": rules})
        import_model(training, tmp_path / "model" / f"part{number}", known=known)
    save_parts(["part0", "part1"], tmp_path / "model")
    first, second = (exactly(made, scan.hu, FINE) for made in mades)
    expected = np.where(second > 0, 2 + second, first)
    found = segment(scan, tmp_path / "model", EXACT, compute=FP32)
    agrees(found.result.values, expected)
    request = Request(resampling="exact", roi_subset=("liver", "colon"), confidence=True, triage=True)
    some = segment(scan, tmp_path / "model", request, compute=FP32)
    assert np.array_equal(some.mask("liver"), found.result.values == 1)
    assert np.array_equal(some.mask("colon"), found.result.values == 5)
    assert set(some.self_rating.structures) == {"liver", "colon"}


def test_memory_that_is_allowed_is_obeyed(plain, scan):
    compute = Compute(device="cpu", engine="torch", precision="fp32", max_memory="1MB")
    with pytest.raises(InputError, match="expected a scan that fits into"):
        segment(scan, plain, EXACT, compute=compute)


def test_slices_alone_are_looked_at_whole(plain, scan):
    predictor = open_predictor(plain, FP32)
    slices = np.moveaxis(scan.hu[:, :, 3:5], 2, 0)
    found = predictor.predict_batch(slices, SPACING[:2], Request(resampling="exact"))
    assert found.shape == (2, 3, 34, 19)
    assert np.array_equal(found, predictor.predict_batch(slices, SPACING[:2]))


class TestRefused:
    def test_exact_of_models_that_are_no_tasks(self, scan, tmp_path):
        import_model(write_training(tmp_path / "nn"), tmp_path / "model")
        with pytest.raises(ConfigError, match=r"expected a task of TotalSegmentator.*leave --resampling off"):
            segment(scan, tmp_path / "model", EXACT, compute=FP32)

    def test_a_finder_that_is_not_there_is_told_with_how_it_is_fetched(self, scan, tmp_path, monkeypatch):
        monkeypatch.setattr("tomoseg.models.packaged.fetched_models", dict)
        model = model_of(tmp_path, voxels_mm=FINE, box=Box(finder="total-6mm", structures=("liver",)))
        with pytest.raises(
            ConfigError, match=r"expected the model total-6mm, which finds the box for.*tomoseg fetch total-6mm"
        ):
            segment(scan, model, compute=FP32)

    def test_a_finder_that_does_not_know_the_structure(self, finder, scan, tmp_path):
        model = model_of(tmp_path, voxels_mm=FINE, box=Box(finder=str(finder), structures=("liver",)))
        with pytest.raises(LabelError, match="liver"):
            segment(scan, model, compute=FP32)


def test_it_is_called_as_its_folder(tmp_path):
    model = model_of(tmp_path / "a", voxels_mm=FINE)
    predictor = open_predictor(model, FP32)
    assert predictor.name == "model"
    assert predictor.folder == model

"""One way to a result: the command line, Python, evaluation and every name of a model give the same to the bit."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from tests.inference.test_predictor import GRIDS, make_model
from tests.training.tiny import add_case, finish, make_scan
from tomoseg.cli import main
from tomoseg.errors import ConfigError, InputError
from tomoseg.files.nifti import read_ct, read_label_map, read_mask, write_nifti
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.segment import open_predictor, preflight, segment
from tomoseg.labels import LabelSet
from tomoseg.models.folder import load_model, save_model
from tomoseg.models.tuned import Tuned, save_tuned
from tomoseg.options import Compute, EvaluateOptions, Request
from tomoseg.volume import SourceGrid
from tomoseg.workflows.evaluate import evaluate

SHAPE = (24, 22, 12)
LABELS = LabelSet.total().subset(["spleen", "liver", "aorta"])
ON_CPU = Compute(device="cpu", precision="fp32")
GRID = SourceGrid(SHAPE, np.diag([3.0, 3.0, 5.0, 1.0]))
CPU_FLAGS = ["--device", "cpu", "--precision", "fp32"]
STEPS = {"spleen": ["largest"], "aorta": ["fill_holes"]}

ASKED = [
    ([], {}),
    (["--threshold", "liver=0.4", "aorta=0.6"], {"threshold": ("liver=0.4", "aorta=0.6")}),
    (["--postprocess", "liver=remove_small:1"], {"postprocess": ("liver=remove_small:1",)}),
    (["--roi-subset", "aorta", "spleen"], {"roi_subset": ("aorta", "spleen")}),
    (["--no-tuned"], {"tuned": False}),
    (["--smoothing", "0", "--threshold", "0.45"], {"smoothing": 0.0, "threshold": ("0.45",)}),
]


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans") / "scan.nii.gz"
    write_nifti(path, make_scan(5, SHAPE)[0], GRID)
    return path


def save(folder, grid):
    save_model(make_model(grid, LABELS), folder)
    save_tuned(Tuned(str(load_model(folder).sha256), 0.7, {"liver": 0.55, "spleen": 0.45}, STEPS), folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that was tuned: thresholds for some structures, smoothing, steps."""
    return save(tmp_path_factory.mktemp("models") / "tuned", GRIDS["spacing"])


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor(load_model(model), ON_CPU)


@pytest.fixture(scope="module")
def plain(ct, predictor):
    return segment(ct, predictor)


def masks_of(prediction):
    return np.stack([prediction.mask(name) for name in prediction.labels.names])


@pytest.mark.parametrize("ml", [False, True])
@pytest.mark.parametrize(("flags", "request_"), ASKED, ids=lambda given: " ".join(map(str, given)) or "as tuned")
def test_the_command_line_and_python_give_the_same_to_the_bit(ct, model, tmp_path, ml, flags, request_):
    output = tmp_path / ("map.nii.gz" if ml else "out")
    also = ["--statistics", "--triage", *(["--ml"] if ml else [])]
    command = ["predict", "-i", str(ct), "-o", str(output), "-m", str(model), *CPU_FLAGS, *flags, *also]
    assert main(command) == 0
    found = segment(ct, model, Request(ml=ml, statistics=True, triage=True, **request_), compute=ON_CPU)
    if ml:
        assert np.array_equal(read_label_map(output, GRID), found.result.values)
        assert len(np.unique(found.result.values)) > 1
    assert any(0 < found.mask(name).mean() < 1 for name in found.labels.names)
    for name in () if ml else found.labels.names:
        assert np.array_equal(read_mask(output / f"{name}.nii.gz", GRID), found.mask(name))
    statistics, record = (
        json.loads((tmp_path / f"map.{name}" if ml else output / name).read_text())
        for name in ("statistics.json", "prediction.json")
    )
    measured = {one.structure: {k: v for k, v in asdict(one).items() if k != "structure"} for one in found.statistics}
    assert statistics == json.loads(json.dumps(measured))
    assert record["self_rating"] == asdict(found.self_rating)
    assert record["structures"] == list(found.labels.names)


def test_each_of_these_requests_asks_for_something_else(ct, predictor):
    found = [segment(ct, predictor, Request(**given)) for _, given in ASKED]
    sizes = {tuple(one.mask(name).sum() for name in one.labels.names) for one in found}
    assert len(sizes) == len(ASKED)


def test_a_name_a_folder_a_model_and_a_predictor_are_the_same(ct, model, predictor, plain):
    for given in (model, str(model), load_model(model), [load_model(model)], predictor):
        assert np.array_equal(masks_of(segment(ct, given, compute=ON_CPU)), masks_of(plain))
    assert open_predictor(predictor, Compute(device="meta")) is predictor  # it has its own
    assert np.array_equal(masks_of(segment(str(ct), predictor)), masks_of(plain))
    assert np.array_equal(masks_of(segment(read_ct(ct), predictor)), masks_of(plain))
    named = open_predictor("head-neck", ON_CPU)
    assert named.record.labels.names[:2] == ("brainstem", "esophagus")


def test_what_was_tuned_is_of_one_model(ct, model, plain):
    several = segment(ct, [load_model(model)] * 2, compute=ON_CPU)
    untuned = segment(ct, model, Request(tuned=False), compute=ON_CPU)
    assert np.array_equal(masks_of(several), masks_of(untuned))  # the mean of the same and the same
    assert not np.array_equal(masks_of(several), masks_of(plain))


def test_what_preflight_noticed_may_be_given_or_not(model, tmp_path, predictor):
    write_nifti(tmp_path / "flat.nii.gz", np.zeros(SHAPE, np.int16), GRID)
    volume = read_ct(tmp_path / "flat.nii.gz")
    seen = preflight(volume, predictor)
    assert [one.kind for one in seen][:1] == ["one value"]
    without, given = segment(volume, predictor), segment(volume, predictor, notices=seen)
    assert without.notices == given.notices == seen
    assert np.array_equal(masks_of(without), masks_of(given))
    for notices in (None, seen):
        with pytest.raises(InputError, match="expected a scan without warnings, as --strict requires, got: one value"):
            segment(volume, predictor, Request(strict=True), notices=notices)


@pytest.mark.parametrize("ml", [False, True])
def test_an_empty_result_is_told(ct, predictor, plain, ml):
    assert "nothing found" not in {one.kind for one in plain.notices}
    nothing = ("remove_small:1000000",)
    several = segment(ct, predictor, Request(ml=ml, postprocess=nothing)).notices
    assert [str(one) for one in several if one.kind == "nothing found"] == [
        f"None of the {len(LABELS)} structures was found: absent, outside the scan, or missed. Look at the scan."
    ]
    one = segment(ct, predictor, Request(ml=ml, postprocess=nothing, roi_subset=("liver",))).notices
    assert "liver was not found: absent, outside the scan, or missed. Look at the scan." in map(str, one)


def test_a_scan_without_warnings_passes_strict(ct, predictor, plain):
    seen = preflight(read_ct(ct), predictor)
    harmless = tuple(one for one in seen if one.level == "note")
    found = segment(ct, predictor, Request(strict=True), notices=harmless)
    assert np.array_equal(masks_of(found), masks_of(plain))


def test_an_unknown_request_names_the_nearest():
    with pytest.raises(ConfigError, match=r"roi_subest: expected one of \d+ known names, .*did you mean 'roi_subset'"):
        Request(roi_subest=("liver",))
    with pytest.raises(ConfigError, match=r"treshold: .*did you mean 'threshold'"):
        Request(treshold=("0.4",))


def test_only_what_was_asked_for_is_given(ct, predictor, plain):
    assert (plain.confidence, plain.self_rating, plain.statistics) == (None, None, None)
    assert list(plain.seconds)[-1] == "postprocess"
    assert {"grid", "prepare", "network", "decisions", "segment"} < set(plain.seconds)
    all_of_it = segment(ct, predictor, Request(confidence=True, triage=True, statistics=True))
    assert np.array_equal(masks_of(all_of_it), masks_of(plain))
    assert all_of_it.confidence.names == LABELS.names
    assert [one.structure for one in all_of_it.statistics] == list(LABELS.names)
    assert list(all_of_it.self_rating.structures) == list(LABELS.names)


def test_statistics_are_of_the_masks_after_steps(ct, predictor, plain):
    found = segment(ct, predictor, Request(statistics=True))
    for one in found.statistics:
        assert one.volume_ml == pytest.approx(plain.mask(one.structure).sum() * 0.045)


def test_evaluation_scores_the_same_masks(tmp_path):
    """A case that was preprocessed on the scan's own grid: its Dice, by hand, of what `segment` finds in the scan."""
    folder = save(tmp_path / "model", GRIDS["native"])
    hu, masks = make_scan(3)
    add_case(tmp_path / "data", "v", hu, masks, GRIDS["native"], spacing_mm=(1.5, 1.5, 3.0))
    finish(tmp_path / "data", {"v": "validation"}, LABELS, GRIDS["native"])
    write_nifti(tmp_path / "v.nii.gz", hu, SourceGrid(hu.shape, np.diag([1.5, 1.5, 3.0, 1.0])))
    for request in (Request(), Request(tuned=False)):
        options = EvaluateOptions(tuned=request.tuned, surfaces=False)
        (case,) = evaluate(folder, tmp_path / "data", options=options, compute=ON_CPU).scores
        found = masks_of(segment(tmp_path / "v.nii.gz", folder, request, compute=ON_CPU))
        for scored, mask, reference in zip(case.structures, found, masks, strict=True):
            assert scored.dice == pytest.approx(2 * (mask & reference).sum() / (mask.sum() + reference.sum()))
        assert max(scored.dice for scored in case.structures) > 0.1


def test_a_label_map_or_a_result_of_ours_is_no_scan(ct, model, predictor, tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:9, 5:12, 3:8], labels[12:20, 5:12, 3:8] = 1, 2
    write_nifti(tmp_path / "labels.nii.gz", labels, GRID)
    expected = "expected a CT scan, got a label map; pass the scan itself, or what `read_scan` reads of it"
    with pytest.raises(InputError, match=expected):
        segment(tmp_path / "labels.nii.gz", predictor)
    assert segment(read_ct(tmp_path / "labels.nii.gz"), predictor).labels == LABELS
    assert main(["predict", "-i", str(ct), "-o", str(tmp_path / "out"), "-m", str(model), *CPU_FLAGS]) == 0
    with pytest.raises(InputError, match="expected a CT scan, got a result of tomoseg; pass the scan itself"):
        segment(tmp_path / "out" / "liver.nii.gz", predictor)

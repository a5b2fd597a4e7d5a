"""Models of parts against their parts, each predicted alone and laid over the former by hand."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from tests.inference.nnunet.test_predictor import FP32, ISOTROPIC, scan_of
from tests.nnunet_files import Made, write_training
from tomoseg.errors import ModelError
from tomoseg.inference.nnunet.parts import PartsPredictor
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.models.folder import is_model, load_model
from tomoseg.models.parts import load_parts, parts_in, save_parts
from tomoseg.models.views import exports_in, networks_in, record_of
from tomoseg.options import Request
from tomoseg.volume import Volume
from tomoseg.workflows.import_model import import_model

NAMES = (("liver", "spleen"), ("aorta", "brain", "colon"))


def import_parts(folder, names=NAMES):
    """Each with weights of its own: the numbers of heads differ."""
    for number, of_part in enumerate(names):
        labels = {"background": 0} | {name: k for k, name in enumerate(of_part, start=1)}
        training = write_training(folder / f"nn{number}", Made(labels=labels))
        import_model(training, folder / "model" / f"part{number}")
    return folder / "model"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)  # an export takes seconds
        folder = import_parts(tmp_path_factory.mktemp("parts"))
    save_parts(["part0", "part1"], folder)
    return folder


@pytest.fixture(scope="module")
def scan():
    values, _ = scan_of((17, 20, 11), ISOTROPIC)
    return Volume.from_array(values, ISOTROPIC)


@pytest.fixture(scope="module")
def alone(model, scan):
    """What each part finds, with probabilities and its rating."""
    request = Request(confidence=True, triage=True)
    return [segment(scan, model / f"part{k}", request, compute=FP32) for k in range(2)]


def laid_over(alone):
    """Ids from 1 for the first part's structures, then the second's, which lie over them."""
    first, second = (found.result for found in alone)
    out = np.zeros(first.mask("liver").shape, np.uint8)
    for number, (result, name) in enumerate([*((first, n) for n in NAMES[0]), *((second, n) for n in NAMES[1])], 1):
        out[result.mask(name)] = number
    return out


def test_the_later_part_lies_over_the_former(model, scan, alone):
    found = segment(scan, model, Request(ml=True), compute=FP32)
    expected = laid_over(alone)
    assert found.labels.names == (*NAMES[0], *NAMES[1])
    assert found.labels.ids == (1, 2, 3, 4, 5)
    assert np.array_equal(found.result.values, expected)
    both = alone[0].result.mask("liver") & alone[1].result.mask("aorta")
    assert both.any()
    masks = segment(scan, model, compute=FP32)
    assert all(np.array_equal(masks.mask(name), expected == n) for n, name in enumerate(found.labels.names, start=1))


def test_probabilities_and_ratings_are_those_of_the_parts(model, scan, alone):
    found = segment(scan, model, Request(confidence=True, triage=True), compute=FP32)
    for part, names in zip(alone, NAMES, strict=True):
        for name in names:
            assert np.array_equal(found.confidence.map(name), part.confidence.map(name))
            expected = part.self_rating.structures[name]
            assert found.self_rating.structures[name] == (None if expected is None else pytest.approx(expected))


def test_parts_that_are_not_needed_are_not_computed(model, scan, alone):
    predictor = open_predictor(model, FP32)
    assert isinstance(predictor, PartsPredictor)
    found = segment(scan, predictor, Request(roi_subset=("liver",)))
    assert np.array_equal(found.mask("liver"), alone[0].result.mask("liver"))
    assert list(predictor._open) == [0]
    assert (predictor.name, len(predictor.sha256.split("+"))) == ("model", 2)


def test_networks_stay_open_for_the_next_scan_where_memory_allows(model, scan, monkeypatch):
    weights = sum((model / part / "weights.safetensors").stat().st_size for part in ("part0", "part1"))
    for free, limit, expected in ((12 * weights, None, [0, 1]), (12 * weights - 4, None, [1]), (10**12, 10**12, [1])):
        memory = SimpleNamespace(available=free)
        monkeypatch.setattr("tomoseg.inference.memory.psutil.virtual_memory", lambda memory=memory: memory)
        predictor = open_predictor(model, FP32.model_copy(update={"max_memory": limit}))
        first = segment(scan, predictor, Request(ml=True)).result.values
        opened = dict(predictor._open)
        assert list(opened) == expected
        assert np.array_equal(segment(scan, predictor, Request(ml=True)).result.values, first)
        assert (predictor._open == opened) == (len(expected) == 2)


def test_progress_counts_over_the_parts(model, scan):
    told = []
    segment(scan, model, compute=FP32, progress=lambda *slices: told.append(slices))
    assert told == [(k + 1, 22) for k in range(22)]


def test_what_is_known_of_it_without_its_weights(model):
    assert is_model(model)
    assert networks_in(model) == (model / "part0", model / "part1")
    assert exports_in(model) == ()
    record = record_of(model)
    assert (len(record.labels), record.provenance["networks"]) == (5, "part0, part1")
    assert record.provenance.keys().isdisjoint({"source_sha256", "imported_from"})
    with pytest.raises(ModelError, match=r"expected a model of one network, got one of several; give .*part0"):
        load_model(model)


def test_two_parts_with_one_structure_are_refused(model, tmp_path):
    shutil.copytree(model, tmp_path / "twice")
    with pytest.raises(
        ModelError, match="expected parts with different structures, got: expected each structure name once"
    ):
        save_parts(["part0", "part0"], tmp_path / "twice")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", "expected a record of parts, got"),
        ({"format": 2, "folders": ["part0"]}, "expected format 1, got 2"),
        ({"format": 1, "folders": ["../part0"]}, "expected names of folders beside it"),
        ({"format": 1, "folders": []}, "expected names of folders beside it"),
        ({"format": 1}, "expected a record of parts, got: KeyError"),
        ([], "expected a record of parts, got: TypeError"),
    ],
)
def test_a_damaged_record_is_refused(record, message, tmp_path):
    (tmp_path / "parts.json").write_text(record if isinstance(record, str) else json.dumps(record))
    with pytest.raises(ModelError, match=message):
        parts_in(tmp_path)


def test_a_part_that_is_missing_is_told(model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "part1")
    with pytest.raises(ModelError, match=r"part1: expected a model folder with model\.json"):
        load_parts(tmp_path / "model")

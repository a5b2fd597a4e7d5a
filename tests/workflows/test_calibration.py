"""An axial dataset serves networks of other views: int8 is made with it, and engines are compared on it."""

import numpy as np
import pytest

from tests.training.tiny import NATIVE, make_dataset
from tests.workflows.hu_models import make_model
from tomoseg.errors import DatasetError
from tomoseg.models.folder import load_model
from tomoseg.preprocessed.turn import turn
from tomoseg.workflows import measure_engines as module
from tomoseg.workflows.calibration import calibration_of
from tomoseg.workflows.time_engines import Timing


def test_an_axial_dataset_serves_a_network_of_any_view(tmp_path):
    data = make_dataset(tmp_path / "data")
    coronal = load_model(make_model(tmp_path / "c", grid=NATIVE.model_copy(update={"view": "coronal"})))
    calibration, made = calibration_of(coronal, data)
    assert made["calibrated_with"] == ["a", "b", "c"]
    for image in calibration.images:
        assert image.shape[-2:] == (24, 8)  # slices from left to right and from the feet to the head
        assert np.ptp(image) > 0
    turned = turn(data, "coronal", tmp_path / "turned")
    with pytest.raises(DatasetError, match=r"expected the model's grid, with view axial, got view coronal"):
        calibration_of(load_model(make_model(tmp_path / "a")), turned)


def test_so_it_does_where_engines_are_compared(tmp_path, monkeypatch):
    data = make_dataset(tmp_path / "data")
    coronal = make_model(tmp_path / "c", grid=NATIVE.model_copy(update={"view": "coronal"}))
    given = []
    monkeypatch.setattr(
        module, "time_engines", lambda runs, images: given.extend(images) or [Timing(1.0, 1.0, 1.0, 1, True)]
    )
    (way,) = module.measure_engines(coronal, data, ways=[("torch", "fp32")])
    assert {image.shape[-2:] for image in given} == {(24, 8)}
    assert way.dice["ball"] > 0.8

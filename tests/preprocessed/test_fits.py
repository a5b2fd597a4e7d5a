import pytest

from tests.training.tiny import LABELS, NATIVE, make_dataset
from tomoseg.config import GridConfig
from tomoseg.errors import DatasetError
from tomoseg.preprocessed.fits import check_fits


def test_structures_in_their_order_and_the_grid_must_be_the_model_s(tmp_path):
    data = make_dataset(tmp_path)
    assert LABELS.names == ("ball", "cube", "both")
    check_fits(("ball", "cube", "both"), NATIVE, data)
    with pytest.raises(DatasetError, match="expected the model's 3 structures, got 3 "):
        check_fits(("cube", "ball", "both"), NATIVE, data)
    with pytest.raises(DatasetError, match=r"expected the model's grid .*'spacing'"):
        check_fits(LABELS.names, GridConfig(mode="spacing"), data)

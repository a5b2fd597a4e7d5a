import pytest

from tests.models.test_folder import make_model
from tomoseg.models import exports
from tomoseg.models.exports import add_export, export_file, find_export
from tomoseg.models.folder import load_model, save_model


def exported(folder, content):
    return add_export(load_model(folder), "onnx", "fp32", ".onnx", {}, lambda path: path.write_text(content))


def test_an_export_is_replaced_by_the_next(tmp_path):
    save_model(make_model(), tmp_path / "model")
    exported(tmp_path / "model", "first")
    exported(tmp_path / "model", "second")
    (place,) = (tmp_path / "model" / "onnx" / "fp32").iterdir()
    assert place.read_text() == "second"
    assert export_file(tmp_path / "model", find_export(load_model(tmp_path / "model"), "onnx", "fp32")) == place


def test_a_command_killed_before_the_record_leaves_no_record_of_other_files(tmp_path, monkeypatch):
    """Prediction then goes without the export, instead of refusing files that differ from their record."""
    folder = tmp_path / "model"
    save_model(make_model(), folder)
    exported(folder, "first")

    def killed(folder, found):
        if found:
            raise KeyboardInterrupt
        save(folder, found)

    save = exports._save
    monkeypatch.setattr(exports, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        exported(folder, "second")
    assert (folder / "onnx" / "fp32" / "model.onnx").read_text() == "second"
    assert find_export(load_model(folder), "onnx", "fp32") is None

"""Real files that break tools, as a user would give them: a result on the scan's own grid, or one clear line."""

import numpy as np
import pytest
import SimpleITK

from tests.workflows.predicting import make_model
from tomoseg.files.nifti import read_geometry, read_label_map
from tomoseg.files.scan import read_scan
from tomoseg.options import Compute, PredictOptions
from tomoseg.volume import same_grid
from tomoseg.workflows.predict import predict

REFUSED = {
    "shear.nii.gz": "expected perpendicular axes, got a sheared affine",
    "liver.dcm": "expected CT slices, got images of modality SEG",
    "partial_overlaps.dcm": "expected CT slices, got images of modality SEG",
    "eCT_Supplemental.dcm": "expected CT slices, got perfusion maps",
    "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": "expected CT slices, got perfusion maps",
    "explicit_VR-UN.dcm": "got no usable slice thickness; give the voxel size in mm with --assume-spacing",
    "JPEGProcess2_4TransferSyntax": "got JPEG Extended (Process 2 and 4); export the series uncompressed",
    "JPEGProcess6_8TransferSyntax": "got JPEG Spectral Selection",
    "JPEGProcess10_12TransferSyntax": "got JPEG Full Progression",
    "_msk.nii.gz": "expected a CT scan, got a label map",
    "mask": "expected a CT scan, got a label map",
    "liver_seg.nrrd": "expected a CT scan, got a label map",
}
FOLDERS = ("head_tilted_uneven_gaps", "enhanced_and_classic_in_one_folder")
SEVERAL_PATIENTS = {"transfer_syntaxes": 3, "pydicom_ct": 5}
ON_CPU = Compute(engine="torch", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", spacing_mm=16.0, slice_spacing_mm=16.0)


def test_each_is_segmented_or_refused_in_one_line(test_data, model, tmp_path):
    hostile = test_data / "hostile"
    files = [path for path in sorted(hostile.rglob("*")) if path.is_file() and path.suffix != ".md"]
    scans = [path for path in files if path.parent.name != "head_tilted_uneven_gaps"]
    refused = {}
    for number, scan in enumerate([*scans, *(hostile / name for name in FOLDERS)]):
        output = tmp_path / str(number) / "map.nii.gz"
        (done,) = predict(scan, output, model, PredictOptions(ml=True), ON_CPU)
        left = sorted(path.name for path in output.parent.iterdir()) if output.parent.is_dir() else []
        if done.error is None:
            assert left == ["map.ctbl", "map.label", "map.labels.json", "map.nii.gz", "map.prediction.json"]
            assert same_grid(read_geometry(output), read_scan(scan).source), scan.name
        else:
            assert left == []
            assert done.error.isprintable()
            refused[scan.name] = done.error
    for name, error in refused.items():
        assert any(part in name and words in error for part, words in REFUSED.items()), (name, error)
    assert all(any(part in name for name in refused) for part in REFUSED)


@pytest.mark.parametrize(("name", "count"), SEVERAL_PATIENTS.items())
def test_a_folder_of_several_patients_is_a_scan_each(test_data, model, tmp_path, name, count):
    done = predict(test_data / "hostile" / name, tmp_path / "out", model, PredictOptions(ml=True), ON_CPU)
    assert [one.scan.name for one in done] == [f"{name}_{number}" for number in range(1, count + 1)]
    assert sum(one.error is None for one in done) == len(list((tmp_path / "out").glob("*.nii.gz")))
    assert all(one.error is None or one.error.isprintable() for one in done)


def test_a_real_series_is_segmented_as_the_nifti_file_that_itk_makes_of_it(test_data, model, tmp_path):
    folder = test_data / "abdomen_dicom"
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    SimpleITK.WriteImage(reader.Execute(), str(tmp_path / "ct.nii.gz"))
    maps = []
    for scan, name in ((folder, "dicom"), (tmp_path / "ct.nii.gz", "nifti")):
        (done,) = predict(scan, tmp_path / f"{name}.nii.gz", model, PredictOptions(ml=True), ON_CPU)
        assert done.error is None
        maps.append(read_label_map(tmp_path / f"{name}.nii.gz", read_scan(folder).source, "the series"))
    np.testing.assert_array_equal(*maps)
    assert len(np.unique(maps[0])) > 1

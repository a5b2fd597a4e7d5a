import shutil

import numpy as np
import pytest

from tests.example_files import GRID, STRUCTURES, body, write_example_files
from tomoseg.errors import DatasetError, GridError, InputError, LabelError
from tomoseg.files.nifti import write_nifti
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask
from tomoseg.volume import SourceGrid
from tomoseg.workflows.results import write_result
from tomoseg.workflows.scans import Scan
from tomoseg.workflows.view import find_views, open_scene


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_example_files(folder)
    return folder


def _shown(place, *masks, against=None):
    (case,) = find_views(place, masks, against).cases
    return open_scene(case)


def _masks_of(scene):
    return {entry.structure.name: scene.cells.mask(n) for n, entry in enumerate(scene.entries)}


def test_a_scan_alone(files):
    scene = _shown(files / "ct.nii.gz")
    assert scene.entries == ()
    assert not scene.cells.values.any()
    np.testing.assert_array_equal(scene.hu, body(0)[0])


@pytest.mark.parametrize("place", ["masks", "map.nii.gz"])
def test_masks_in_a_folder_and_in_one_file(files, place):
    expected = body(0)[1]
    found = _masks_of(_shown(files / "ct.nii.gz", files / place))
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)


@pytest.mark.parametrize("name", ["nrrd", "mha", "dicom-seg"])
def test_masks_in_every_other_format_that_is_written_and_read(files, tmp_path, name):
    from tomoseg.files.dicom.made_by import MadeBy
    from tomoseg.segmentation import Segmentation

    expected = body(0)[1]
    packed = sum(mask.astype(np.uint8) << STRUCTURES.channel(name) for name, mask in expected.items())[None]
    result = Segmentation.from_packed(packed, STRUCTURES, GRID)
    scan = Scan("ct", files / "ct.nii.gz", tmp_path / "out")
    write_result(result, None, scan, [name], MadeBy("tomoseg", "0", "tests"))
    found = _masks_of(_shown(files / "ct.nii.gz", tmp_path / "out"))
    for structure, mask in expected.items():
        np.testing.assert_array_equal(found[structure], mask)


def test_files_of_a_mask_each(files):
    folder = files / "masks"
    scene = _shown(files / "ct.nii.gz", folder / "spleen.nii.gz", folder / "liver.nii.gz")
    assert [entry.structure.name for entry in scene.entries] == ["spleen", "liver"]  # in the order of the 117
    assert scene.entries[1].structure.colour == LabelSet.total()["liver"].colour
    assert _shown(files / "ct.nii.gz", folder / "liver.nii.gz").entries[0].measured.volume_ml > 0


def test_a_label_map_without_names_has_numbers(files, tmp_path):
    values = np.zeros(GRID.shape, np.uint8)
    values[3:6, 3:6, 3:6] = 7
    values[10:13, 3:6, 3:6] = 2
    write_nifti(tmp_path / "found.nii.gz", values, GRID)
    scene = _shown(files / "ct.nii.gz", tmp_path / "found.nii.gz")
    assert {entry.structure.name: entry.measured.volume_ml for entry in scene.entries} == {
        "label 2": pytest.approx(27 * 0.64),
        "label 7": pytest.approx(27 * 0.64),
    }


def test_of_a_folder_of_many_the_one_called_as_the_scan(files, tmp_path):
    for name in ("ct", "other"):
        shutil.copytree(files / "masks", tmp_path / "out" / name)
    shutil.copy(files / "ct.nii.gz", tmp_path / "other.nii.gz")
    (case,) = find_views(tmp_path / "other.nii.gz", [tmp_path / "out"]).cases
    assert case.masks.name == "other"
    shutil.copy(files / "ct.nii.gz", tmp_path / "third.nii.gz")
    with pytest.raises(DatasetError, match="expected masks of one scan, or of one called third, got those of 2"):
        find_views(tmp_path / "third.nii.gz", [tmp_path / "out"])


def test_two_sides(files, tmp_path):
    shutil.copytree(files / "masks", tmp_path / "reference")
    (tmp_path / "reference" / "spleen.nii.gz").unlink()
    shutil.copy(files / "masks" / "liver.nii.gz", tmp_path / "reference" / "heart.nii.gz")
    scene = _shown(files / "ct.nii.gz", files / "masks", against=tmp_path / "reference")
    assert {entry.structure.name: entry.dice for entry in scene.entries} == {"spleen": None, "liver": 1, "heart": 0}


@pytest.mark.parametrize(
    ("masks", "error", "words"),
    [
        (["nothing"], DatasetError, "expected masks, got"),
        (["ct.txt"], DatasetError, "expected masks .*, got another kind of file"),
        (["masks/liver.nii.gz", "masks"], DatasetError, "expected a file of one mask beside others"),
        (["masks/liver.nii.gz", "more/liver.nii.gz"], LabelError, "got liver twice"),
    ],
)
def test_masks_that_are_none(files, masks, error, words):
    (files / "ct.txt").write_text("no masks")
    (files / "more").mkdir(exist_ok=True)
    shutil.copy(files / "masks" / "liver.nii.gz", files / "more")
    with pytest.raises(error, match=words):
        find_views(files / "ct.nii.gz", [files / one for one in masks])


def test_a_scan_that_is_not_there_and_a_reference_without_masks(files, tmp_path):
    with pytest.raises(InputError, match="expected a scan, got nothing at that path"):
        find_views(files / "none.nii.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"expected a scan, a folder of results or a run, got an empty folder"):
        find_views(tmp_path / "empty")
    with pytest.raises(InputError, match="expected masks to compare with"):
        find_views(files / "ct.nii.gz", against=files / "masks")


def test_masks_of_another_grid_are_refused(files, tmp_path):
    write_nifti(tmp_path / "liver.nii.gz", np.zeros((4, 4, 4), np.uint8), SourceGrid((4, 4, 4), np.eye(4)))
    with pytest.raises(GridError, match="expected the grid of"):
        _shown(files / "ct.nii.gz", tmp_path / "liver.nii.gz")


def test_masks_of_a_scan_in_another_orientation(files, tmp_path):
    hu, masks = body(0)
    affine = np.array([[0, 0, -8.0, 90], [8.0, 0, 0, 0], [0, -10.0, 0, 110], [0, 0, 0, 1]])
    grid = SourceGrid((40, 12, 48), affine)
    write_nifti(tmp_path / "ct.nii.gz", hu, grid)
    write_nifti(tmp_path / "liver.nii.gz", masks["liver"].view(np.uint8), grid)
    scene = _shown(tmp_path / "ct.nii.gz", tmp_path / "liver.nii.gz")
    np.testing.assert_array_equal(scene.cells.mask(0), masks["liver"])
    np.testing.assert_array_equal(scene.hu, hu)
    box = BoxedMask.of(masks["liver"])
    assert all(s <= m < s + n for s, m, n in zip(box.start, scene.entries[0].middle, box.inside.shape, strict=True))

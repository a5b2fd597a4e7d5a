import errno
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import blosc2
import numpy as np
import pytest

from tests.preprocessed.scans import box, make_case
from tomoseg import masks as packed_masks
from tomoseg.checks.in_distribution import out_of_distribution
from tomoseg.config import GridConfig
from tomoseg.errors import DatasetError, InputError, OutputError
from tomoseg.files.atomic import whole_folder
from tomoseg.grid import mask_to_grid, place_grid, to_grid
from tomoseg.masks import BoxedMask
from tomoseg.notices import Notice
from tomoseg.preprocessed import read
from tomoseg.preprocessed.format import CASE_RECORD, CT, MASKS, NATIVE, CaseRecord
from tomoseg.preprocessed.read import OpenArrays, PreprocessedCase, range_of
from tomoseg.preprocessed.write import write_case
from tomoseg.volume import Volume

NATIVE_GRID = GridConfig(mode="native", crop="none")
HALF = GridConfig(mode="size", size=(4, 3), crop="none")
SHAPE = (8, 6, 5)


@pytest.fixture
def hu(rng):
    return rng.integers(-1000, 1000, SHAPE, np.int16)


@pytest.fixture
def masks(rng):
    """Masks of five of 19 structures; channel 7 is annotated and absent."""
    return {0: rng.random(SHAPE) < 0.5, 3: box(SHAPE, (1, 3), (0, 6), (1, 2)), 7: np.zeros(SHAPE, bool)} | {
        8: np.ones(SHAPE, bool),
        18: box(SHAPE, (0, 8), (0, 6), (0, 5)) & (np.arange(5) % 2 == 0),
    }


def write(folder, case, grid, keep_native=True, threads=1):
    folder.mkdir()
    record = write_case(case, folder, grid, keep_native=keep_native, threads=threads)
    opened = PreprocessedCase(folder, "validation", OpenArrays())
    assert opened.record == record
    return opened


def as_packed(masks, structures, shape):
    whole = np.zeros((structures, *shape), bool)
    for channel, mask in masks.items():
        whole[channel] = mask
    return packed_masks.pack(whole)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_scans_own_grid_comes_back_as_it_was(tmp_path, hu, masks, threads):
    case = write(tmp_path / "c", make_case(hu, masks, 19), NATIVE_GRID, threads=threads)
    packed = as_packed(masks, 19, SHAPE)
    np.testing.assert_array_equal(case.ct(), hu, strict=True)
    np.testing.assert_array_equal(case.masks(), packed, strict=True)
    for k in range(5):
        np.testing.assert_array_equal(case.ct_slice(k), hu[..., k], strict=True)
        np.testing.assert_array_equal(case.masks_slice(k), packed[..., k], strict=True)
        np.testing.assert_array_equal(case.native_masks_slice(k), packed[..., k], strict=True)
    assert case.slices == 5
    assert not (tmp_path / "c" / NATIVE).exists()


def test_what_the_record_says_by_hand(tmp_path, hu, masks):
    case = write(tmp_path / "c", make_case(hu, masks, 19, warnings=(Notice("odd", "no air"),)), NATIVE_GRID)
    record = case.record
    assert (record.name, case.name, record.patient, record.fingerprint) == ("c0", "c0", "p0", "print")
    assert record.annotated == (0, 3, 7, 8, 18)
    assert record.occurrence[3] == ((1, 2),)
    assert record.occurrence[7] == ()
    assert record.occurrence[8] == ((0, 5),)
    assert record.occurrence[18] == ((0, 1), (2, 3), (4, 5))
    assert record.slices_of(18).tolist() == [0, 2, 4]
    assert record.slices_of(8).tolist() == [0, 1, 2, 3, 4]
    assert record.slices_of(7).tolist() == record.slices_of(1).tolist() == []
    assert record.voxels == {0: int(masks[0].sum()), 3: 12, 7: 0, 8: 240, 18: 144}
    assert record.ceiling == {0: 1.0, 3: 1.0, 8: 1.0, 18: 1.0}
    assert record.warnings == (Notice("odd", "no air"),)
    written = json.loads((tmp_path / "c" / CASE_RECORD).read_text())["warnings"]
    assert written == [{"kind": "no air", "level": "warning", "message": "odd"}]


def test_a_record_from_before_warnings_had_kinds_still_loads(tmp_path, hu, masks):
    case = write(tmp_path / "c", make_case(hu, masks, 19), NATIVE_GRID)
    path = tmp_path / "c" / CASE_RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"warnings": ["odd"]}))
    assert CaseRecord.load(path) == replace(case.record, warnings=(Notice("odd", "former record"),))


def test_a_record_from_before_slices_had_a_difficulty_still_loads(tmp_path, hu, masks):
    case = write(tmp_path / "c", make_case(hu, masks, 19), NATIVE_GRID)
    path = tmp_path / "c" / CASE_RECORD
    content = json.loads(path.read_text())
    assert len(content.pop("difficulty")) == 5
    path.write_text(json.dumps(content))
    assert CaseRecord.load(path) == replace(case.record, difficulty=None)


@pytest.mark.parametrize("view", ["axial", "coronal"])
def test_the_tissue_is_that_of_the_scan_and_not_of_a_coarse_grid(tmp_path, view):
    """Planes of tissue alternate with air: on a grid half as fine, nearly all is -480 HU, the mean of -1000 and 40."""
    hu = np.full((8, 8, 8), -1000, np.int16)
    hu[::2] = 40
    hu[::2, 0], hu[::2, 1] = -60, 300  # an eighth each
    coarse = GridConfig(mode="spacing", spacing_mm=2.0, crop="none", view=view)
    case = replace(make_case(hu, {}, 1), volume=Volume.from_array(hu, np.eye(4)).seen(view))
    found = write(tmp_path / "c", case, coarse)
    assert found.ct().max() == -440  # the mean of -60, 300 and twice -1000
    known = range_of([PreprocessedCase(tmp_path / "c", "train", OpenArrays(), view)])
    assert known.tissue_hu == ((-60.0, -60.0), (40.0, 40.0), (300.0, 300.0))
    assert out_of_distribution(Volume.from_array(hu, np.eye(4)), known) == ()


def test_a_scan_of_air_has_no_tissue_and_an_older_record_that_of_its_grid(tmp_path):
    for name, fill in (("air", -1000), ("tissue", 40)):
        write(tmp_path / name, make_case(np.full(SHAPE, fill, np.int16), {}, 1), NATIVE_GRID)
        path = tmp_path / name / CASE_RECORD
        content = json.loads(path.read_text())
        assert content["tissue_hu"] == ([] if name == "air" else [40.0, 40.0, 40.0])
        if name == "tissue":
            del content["tissue_hu"]
            path.write_text(json.dumps(content))
    cases = [PreprocessedCase(tmp_path / name, "train", OpenArrays()) for name in ("air", "tissue")]
    assert cases[1].record.tissue_hu is None
    assert range_of(cases).tissue_hu == ((40.0, 40.0),) * 3


def test_the_spacing_of_the_grid_by_hand(tmp_path, hu, masks):
    # 8 x 6 voxels of 1.5 and 2 mm on 4 x 3 pixels: twice as large. Slices stay 5 mm apart.
    given = make_case(hu, masks, 19, np.diag([1.5, 2.0, 5.0, 1.0]))
    case = write(tmp_path / "c", given, HALF)
    assert case.spacing_mm == pytest.approx((1.5, 2.0, 5.0))
    assert case.grid_spacing_mm == pytest.approx((3.0, 4.0, 5.0))


def test_a_coarser_grid_is_that_of_the_grid_functions(tmp_path, hu, masks):
    case = write(tmp_path / "c", make_case(hu, masks, 19), HALF)
    placement = place_grid(hu, (1.0, 1.0, 1.0), HALF)
    small = {channel: mask_to_grid(BoxedMask.of(mask), placement).whole() for channel, mask in masks.items()}
    assert case.record.placement == placement
    np.testing.assert_array_equal(case.ct(), to_grid(hu, placement))
    np.testing.assert_array_equal(case.masks(), as_packed(small, 19, (4, 3, 5)))
    assert case.record.voxels == {channel: int(mask.sum()) for channel, mask in small.items()}
    native = as_packed(masks, 19, SHAPE)
    for k in range(5):
        np.testing.assert_array_equal(case.native_masks_slice(k), native[..., k], strict=True)


def test_ceilings_by_hand(tmp_path):
    hu = np.zeros((8, 4, 1), np.int16)
    masks = {
        0: box(hu.shape, (2, 4), (0, 2), (0, 1)),
        1: box(hu.shape, (2, 3), (0, 1), (0, 1)),
        2: np.zeros(hu.shape, bool),
    }
    case = write(tmp_path / "c", make_case(hu, masks, 3), GridConfig(mode="size", size=(4, 2), crop="none"))
    # 0: one whole pixel of the grid, (1, 0). On the way back its weights are 0.25 0.75 0.75 0.25 along x (voxels 1 to
    # 4) and 1 0.75 0.25 along y; above 0.5 are voxels 2 and 3, 0 and 1: the same four. 1: a quarter of a pixel, lost.
    assert case.record.voxels == {0: 1, 1: 0, 2: 0}
    assert case.record.ceiling == {0: 1.0, 1: 0.0}


def test_a_ceiling_below_one(tmp_path):
    hu = np.zeros((8, 1, 1), np.int16)
    masks = {0: box(hu.shape, (0, 7), (0, 1), (0, 1))}
    case = write(tmp_path / "c", make_case(hu, masks, 1), GridConfig(mode="size", size=(2, 1), crop="none"))
    # Both pixels (1 and 0.75) are inside, and so is all of the way back: 2 * 7 / (7 + 8).
    assert case.record.ceiling == {0: pytest.approx(14 / 15)}


def test_training_cases_have_no_masks_on_the_scans_grid(tmp_path, hu, masks):
    case = write(tmp_path / "c", make_case(hu, masks, 19), HALF, keep_native=False)
    assert case.scan_hu() is None
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == sorted([CASE_RECORD, CT, MASKS])
    with pytest.raises(DatasetError, match=r"c0: expected masks on the scan's own grid, got a training case, which"):
        case.native_masks_slice(0)


def test_the_body_alone(tmp_path):
    shape = (30, 24, 20)
    hu = np.full(shape, -1024, np.int16)
    hu[10:20, 8:20, :] = 40
    masks = {0: box(shape, (12, 14), (10, 12), (5, 9)), 1: box(shape, (0, 2), (0, 2), (0, 2))}
    grid = GridConfig(mode="native", crop="body", body_margin_mm=0)
    case = write(tmp_path / "c", make_case(hu, masks, 2, np.diag([6.0, 6.0, 6.0, 1.0])), grid)
    assert (case.record.placement.start, case.record.placement.shape) == ((10, 8, 0), (10, 12, 20))
    np.testing.assert_array_equal(case.ct(), hu[10:20, 8:20])
    np.testing.assert_array_equal(case.scan_hu(), hu, strict=True)
    np.testing.assert_array_equal(packed_masks.unpack(case.masks(), 2)[0], masks[0][10:20, 8:20])
    # The second structure lies in the air that was cut away; scoring still knows it.
    assert case.record.voxels == {0: 16, 1: 0}
    assert case.record.ceiling == {0: 1.0, 1: 0.0}
    assert packed_masks.unpack(case.native_masks_slice(0), 2).sum(axis=(1, 2)).tolist() == [0, 4]


def test_geometry_is_kept_to_the_last_bit(tmp_path):
    affine = np.array([[0, -0.7000000000000001, 0, 1 / 3], [0, 0, 1.5, -7.1], [-3, 0, 0, 9], [0, 0, 0, 1.0]])
    hu = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # in the file's order
    case = make_case(hu, {}, 1, affine)
    opened = write(tmp_path / "c", case, NATIVE_GRID)
    assert opened.record.source.affine.tobytes() == affine.tobytes()
    assert opened.record.source.shape == (2, 3, 4)
    assert opened.spacing_mm == pytest.approx((0.7, 1.5, 3.0))
    np.testing.assert_array_equal(opened.ct(), case.volume.hu)
    assert opened.record.annotated == ()
    assert not opened.masks().any()


def test_an_error_of_a_mask_comes_through(tmp_path, hu):
    def load(channel):
        raise InputError("liver.nii: expected only 0 and 1, got 7")

    case = make_case(hu, {0: None, 9: None}, 10)
    object.__setattr__(case, "load_mask", load)
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="expected only 0 and 1, got 7"):
        write_case(case, tmp_path / "c", HALF, keep_native=True, threads=2)
    assert not (tmp_path / "c" / CASE_RECORD).exists()


def test_a_full_disk_is_told(tmp_path, hu, masks, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with (
        pytest.raises(OutputError, match=r"No space left on device; free some space"),
        whole_folder(tmp_path / "c") as f,
    ):
        write_case(make_case(hu, masks, 19), f, HALF, keep_native=True, threads=1)
    assert list(tmp_path.iterdir()) == []


def test_a_case_goes_to_another_process(tmp_path, hu, masks):
    case = write(tmp_path / "c", make_case(hu, masks, 19), NATIVE_GRID)
    case.ct_slice(0)  # its file is open now
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).ct_slice(2).tolist())"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(case), capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(hu[..., 2].tolist())


def test_only_so_many_arrays_stay_open(tmp_path, hu, masks, monkeypatch):
    monkeypatch.setattr(read, "OPEN_FILES", 2)
    case = write(tmp_path / "c", make_case(hu, masks, 19), HALF)
    files = OpenArrays()
    first = files.get(tmp_path / "c" / CT)
    files.get(tmp_path / "c" / MASKS)
    assert files.get(tmp_path / "c" / CT) is first
    files.get(tmp_path / "c" / NATIVE)  # masks go, since the scan was used after them
    assert files.get(tmp_path / "c" / CT) is first
    np.testing.assert_array_equal(files.get(tmp_path / "c" / MASKS)[:], case.masks().transpose(0, 3, 2, 1))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_a_damaged_array_is_told(tmp_path, hu, masks, damage):
    case = write(tmp_path / "c", make_case(hu, masks, 19), NATIVE_GRID)
    path = tmp_path / "c" / CT
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "other": b"x" * 500}[damage])
    with pytest.raises(
        DatasetError, match=r"ct\.b2nd: expected a compressed array, got: .*; delete its folder and preprocess again"
    ):
        case.ct_slice(0)


def test_an_array_that_runs_code_is_refused(tmp_path, hu, masks):
    case = write(tmp_path / "c", make_case(hu, masks, 19), NATIVE_GRID)
    path = tmp_path / "c" / CT
    other = blosc2.asarray(np.zeros((2, 2, 2), np.int16), urlpath=str(tmp_path / "other.b2nd"), mode="w")
    path.unlink()
    blosc2.lazyexpr("a + 1", {"a": other}).save(urlpath=str(path))
    with pytest.raises(DatasetError, match=r"ct\.b2nd: expected .*, got one that runs code .*; do not trust"):
        case.ct_slice(0)


class Damaged:
    """An array whose blocks do not unpack; truly damaged ones may crash the library, so none is made here."""

    def __getitem__(self, index):
        raise RuntimeError("Error while getting the slice")


def test_a_block_that_does_not_unpack_is_told(tmp_path, hu, masks, monkeypatch):
    case = write(tmp_path / "c", make_case(hu, masks, 19), NATIVE_GRID)
    monkeypatch.setattr(read.blosc2, "open", lambda *args, **kwargs: Damaged())
    for call in (case.ct, case.masks, lambda: case.ct_slice(0), lambda: case.masks_slice(0)):
        with pytest.raises(DatasetError, match=r"expected a compressed array, got: Error while getting the slice; del"):
            call()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"placement"', '"place"'),
        ('"shape"', '"shapes"'),
        ('"occurrence"', '"occurences"'),
        ('"warnings": []', '"warnings": [], "more": 1'),
        ('"difficulty": [', '"difficulty": [0.5,'),
        ('"difficulty": [', '"difficulty": ["easy",'),
        ('"difficulty": [\n  0.', '"difficulty": [\n  7.'),
        ('"difficulty": [', '"difficulty": 1, "warnings": ['),
        ('"tissue_hu": [', '"tissue_hu": [0.5,'),
        ('"tissue_hu": [', '"tissue_hu": ["soft",'),
        ("{", "["),
        ("}", ""),
    ],
)
def test_a_damaged_record_is_told(tmp_path, hu, masks, old, new):
    write(tmp_path / "c", make_case(hu, masks, 19), NATIVE_GRID)
    path = tmp_path / "c" / CASE_RECORD
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DatasetError, match=r"case\.json: expected a case record, got: .*; preprocess this dataset"):
        CaseRecord.load(path)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pictures.test_canvas import read
from tomoseg.errors import GridError, LabelError
from tomoseg.files.nifti import read_ct, read_label_map
from tomoseg.labels import LabelSet, Structure
from tomoseg.masks import pack
from tomoseg.pictures.canvas import Sheet
from tomoseg.pictures.preview import draw_preview, flatten
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import SourceGrid, Volume

PURE = LabelSet(
    tuple(Structure(i + 1, n, colour=c) for i, (n, c) in enumerate([("red", (255, 0, 0)), ("green", (0, 255, 0))]))
)


def volume(shape, spacing=(1.0, 1.0, 1.0), hu=-200):
    return Volume.from_array(np.full(shape, hu, np.int16), np.diag([*spacing, 1.0]))


def draw(scan, labels, values, path, title):
    draw_preview(scan, LabelMap(values, labels, scan.source), path, title)


def coloured(picture, channel):
    """Where one channel stands out."""
    others = np.delete(picture, channel, axis=2).max(axis=2)
    return picture[..., channel] - others > 60


def boxes(marked):
    """The parts of the first row of pictures, left to right, as (left, right, top, bottom)."""
    columns = np.flatnonzero(marked.any(axis=0))
    parts = np.split(columns, np.flatnonzero(np.diff(columns) > 3) + 1)
    found = []
    for part in parts:
        rows = np.flatnonzero(marked[:, part].any(axis=1))
        found.append((int(part[0]), int(part[-1]) + 1, int(rows[0]), int(rows[-1]) + 1))
    return found


@given(st.integers(1, 19), st.integers(0, 2**32 - 1))
def test_flatten_shows_the_lower_channel_where_masks_overlap(channels, seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((channels, 3, 4, 9)) < 0.3
    ids = rng.permutation(40)[:channels] + 1
    labels = LabelSet(tuple(Structure(int(i), f"s{i}") for i in ids))
    segmentation = Segmentation.from_packed(pack(masks), labels, SourceGrid((3, 4, 9), np.eye(4)))
    flat = flatten(segmentation)
    expected = np.where(masks.any(axis=0), ids[masks.argmax(axis=0)], 0)
    assert np.array_equal(flat.values, expected)
    assert flat.values.dtype == np.uint8
    assert flat.labels is labels
    assert flat.grid is segmentation.grid


def test_flatten_takes_two_bytes_for_large_ids_and_refuses_larger():
    grid = SourceGrid((1, 1, 2), np.eye(4))
    packed = np.array([[[[1, 0]]]], np.uint8)
    flat = flatten(Segmentation.from_packed(packed, LabelSet((Structure(300, "a"),)), grid))
    assert flat.values.dtype == np.uint16
    assert flat.values.tolist() == [[[300, 0]]]
    with pytest.raises(LabelError, match="up to 65535 for a label map, got 70000"):
        flatten(Segmentation.from_packed(packed, LabelSet((Structure(70000, "a"),)), grid))


def test_planes_go_through_most_of_what_is_labelled_in_true_proportion(tmp_path):
    """A box of 20 x 10 x 4 voxels of 1 x 2 x 5 mm is 20 mm wide, deep and high: a square in every plane."""
    values = np.zeros((60, 30, 12), np.uint8)
    values[20:40, 10:20, 4:8] = 1
    draw(volume(values.shape, (1.0, 2.0, 5.0)), PURE, values, tmp_path / "a.png", "box")
    picture = read(tmp_path / "a.png")
    assert picture.shape[1] == 1600
    first_row = picture[: 48 + 26 + 500]  # three squares of 517 pixels beside each other
    found = boxes(coloured(first_row, 0))
    assert len(found) == 3
    for left, right, top, bottom in found:
        assert right - left == pytest.approx(bottom - top, abs=3)
        assert right - left == pytest.approx(517 / 3, abs=4)


def test_right_anterior_and_superior_are_where_the_marks_say(tmp_path):
    """Red lies right-anterior-superior, green left-posterior-inferior, in one plane of each kind."""
    values = np.zeros((40, 40, 40), np.uint8)
    values[25:35, 25:35, 25:35] = 1
    values[5:15, 5:15, 5:15] = 2
    values[18:22, 18:22, :] = 1
    for plane, (slices, axes) in enumerate(
        [((slice(None), slice(None), 30), (0, 1)), ((slice(None), 30), (0, 2)), ((30,), (1, 2))]
    ):
        one = np.zeros_like(values)
        one[slices] = values[slices]
        corner = [slice(5, 15)] * 3
        corner[3 - sum(axes)] = slice(30, 31)
        one[tuple(corner)] = 2
        draw(volume(values.shape), PURE, one, tmp_path / "a.png", "sides")
        picture = read(tmp_path / "a.png")
        place = picture[74 : 74 + 517, 16 + plane * 525 : 16 + plane * 525 + 517]
        red_rows, red_columns = np.nonzero(coloured(place, 0))
        green_rows, green_columns = np.nonzero(coloured(place, 1))
        assert red_columns.min() == pytest.approx(5 / 40 * 517, abs=3), plane
        assert red_rows[red_columns < 150].min() == pytest.approx(5 / 40 * 517, abs=3), plane
        assert green_columns.max() == pytest.approx(35 / 40 * 517, abs=3), plane
        assert green_rows.max() == pytest.approx(35 / 40 * 517, abs=3), plane


def test_fill_and_legend_have_the_colours_of_the_label_set(tmp_path):
    values = np.zeros((30, 30, 30), np.uint8)
    values[5:25, 5:25, 5:25] = 1
    values[10:20, 10:20, 5:25] = 2
    draw(volume(values.shape), PURE, values, tmp_path / "a.png", "colours")
    picture = read(tmp_path / "a.png")
    fill = picture[74 + 517 // 2 + 20, 16 + 517 // 4]
    assert fill == pytest.approx([0.4 * 255, 0, 0], abs=2)
    swatches = picture[-40:, 16:40].reshape(-1, 3).tolist() + picture[-40:, 320:360].reshape(-1, 3).tolist()
    assert [255, 0, 0] in swatches
    assert [0, 255, 0] in swatches


@pytest.mark.parametrize(("structures", "lines"), [(5, 1), (6, 2), (117, 9)])
def test_the_legend_grows_to_forty_names_and_a_note(tmp_path, structures, lines):
    labels = LabelSet.from_names([f"structure_{n}" for n in range(structures)])
    values = np.tile(np.arange(1, 118, dtype=np.uint8)[:, None, None], (1, 100, 80))
    values[values > structures] = 0
    draw(volume(values.shape, hu=50), labels, values, tmp_path / "a.png", "legend")
    rows = (1600 - 32 - 16) / (117 / 100 + 117 / 80 + 100 / 80), (1600 - 32 - 40) / (6 * 117 / 100)  # pictures' heights
    assert read(tmp_path / "a.png").shape[0] == round(48 + sum(rows) + 2 * 26 + 2 * 8 + lines * 23 + 16)


@pytest.fixture
def written(monkeypatch):
    """What is written on the sheet, and the squares that are empty."""
    texts, empty = [], []
    text, swatch = Sheet.text, Sheet.swatch
    monkeypatch.setattr(Sheet, "text", lambda self, x, y, t, *a, **k: texts.append(t) or text(self, x, y, t, *a, **k))
    monkeypatch.setattr(
        Sheet, "swatch", lambda *a, filled=True: ((filled or empty.append(a[4])) and None) or swatch(*a, filled=filled)
    )
    return texts, empty


def test_warnings_stand_under_the_title_and_cover_nothing(tmp_path, written):
    values = np.zeros((30, 30, 30), np.uint8)
    values[5:25, 5:25, 5:25] = 1
    scan = volume(values.shape)
    result = LabelMap(values, PURE, scan.source)
    draw_preview(scan, result, tmp_path / "plain.png", "title")
    draw_preview(scan, result, tmp_path / "warned.png", "title", warnings=["It seems to show abdomen.", "It is cut."])
    plain, warned = read(tmp_path / "plain.png"), read(tmp_path / "warned.png")
    assert written[0].count("It seems to show abdomen.") == written[0].count("It is cut.") == 1
    lines = 2 * 22 + 6
    assert np.array_equal(warned[:48], plain[:48])
    assert np.array_equal(warned[48 + lines :], plain[48:])
    assert coloured(warned[48 : 48 + lines], 0).any()


def test_each_picture_says_where_it_lies_in_the_patient(tmp_path, written):
    """A file whose axes lead to the left, back and feet: positions are those of viewers, not numbers of slices."""
    affine = np.diag([-2.0, -2.0, -3.0, 1.0])
    affine[:3, 3] = (10.0, 50.0, 20.0)
    scan = Volume.from_array(np.full((21, 31, 11), 50, np.int16), affine)
    values = np.zeros((21, 31, 11), np.uint8)
    values[2, 4, 10] = 1  # RAS+ indices: x = -30 + 2 * 2, y = -10 + 4 * 2, z = -10 + 10 * 3
    draw(scan, PURE, values, tmp_path / "a.png", "where")
    assert [text for text in written[0] if " mm" in text and "voxels" not in text] == [
        *("axial, S 20.0 mm", "coronal, P 2.0 mm", "sagittal, L 26.0 mm", "axial, S 20.0 mm")
    ]


def test_the_legend_has_volumes_of_all_that_was_found(tmp_path, written):
    """Green lies under red and is counted all the same; blue lies in no picture."""
    masks = np.zeros((3, 40, 40, 40), bool)
    masks[0, 5:25, 5:25, 5:25] = True  # 8000 voxels of 8 mm3
    masks[1, 10:20, 10:20, 5:25] = True  # 2000
    masks[2, 38, 38, 30] = True
    labels = LabelSet((*PURE, Structure(3, "blue", colour=(0, 0, 255))))
    scan = volume((40, 40, 40), (2.0, 2.0, 2.0))
    result = Segmentation.from_packed(pack(masks), labels, scan.source)
    draw_preview(scan, result, tmp_path / "a.png", "volumes")
    texts, empty = written
    assert [text for text in texts if " ml" in text] == ["red, 64 ml", "green, 16 ml", "blue, 0.008 ml"]
    assert empty == [(0, 255, 0), (0, 0, 255)]  # green lies under red wherever it lies
    assert "An empty square: found, but in none of these pictures." in texts


def test_a_few_slices_leave_no_hole(tmp_path):
    values = np.zeros((100, 80, 6), np.uint8)
    values[30:70, 30:50, :] = 1
    draw(volume(values.shape, (2.0, 2.0, 2.0), hu=50), PURE, values, tmp_path / "a.png", "slab")
    picture = read(tmp_path / "a.png")[48:-60]
    empty = (picture.max(axis=2) < 30).mean()
    assert empty < 0.2


def test_nothing_labelled_shows_the_ct_alone(tmp_path):
    scan = volume((20, 20, 20), hu=50)
    draw(scan, PURE, np.zeros((20, 20, 20), np.uint8), tmp_path / "a.png", "empty")
    picture = read(tmp_path / "a.png")
    assert np.ptp(picture, axis=2).max() < 20  # the sheet and its writing are a little blue
    assert picture[74 + 100, 16 + 100].tolist() == [128, 128, 128]
    assert (picture[-39:, 16:300] > 200).any()  # the note


@pytest.mark.parametrize(
    "values", [np.zeros((1, 1, 1), np.uint8), np.ones((64, 64, 1), np.uint16), np.ones((4, 4, 200), np.uint8)]
)
def test_odd_shapes_and_titles_are_drawn(tmp_path, values):
    draw(volume(values.shape, (0.7, 0.7, 5.0)), PURE, values, tmp_path / "a.png", "a\nb 左 $x" * 40)
    assert read(tmp_path / "a.png").shape[1] == 1600


def test_air_is_cut_away(tmp_path):
    """10 x 10 x 10 voxels of body in 100 of air are 30 with the margins: a third of each picture."""
    hu = np.full((100, 100, 100), -1000, np.int16)
    hu[40:50, 40:50, 40:50] = 300
    values = (hu > 0).astype(np.uint8)
    draw(Volume.from_array(hu, np.eye(4)), PURE, values, tmp_path / "a.png", "air")
    for left, right, *_ in boxes(coloured(read(tmp_path / "a.png")[:500], 0)):
        assert right - left == pytest.approx(517 / 3, abs=4)


def test_another_shape_and_unknown_values_are_refused(tmp_path):
    with pytest.raises(GridError, match=r"of the scan's shape \(4, 4, 4\), got \(4, 4, 3\)"):
        draw(volume((4, 4, 4)), PURE, np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png", "")
    values = np.zeros((4, 4, 4), np.uint8)
    values[0, 0, 0], values[3, 3, 3] = 9, 1
    with pytest.raises(LabelError, match=r"ids of 2 structures in the label map, got \[9\] too"):
        draw(volume((4, 4, 4)), PURE, values, tmp_path / "a.png", "")
    assert list(tmp_path.iterdir()) == []


def test_the_liver_of_a_real_scan_is_on_the_images_left(test_data, tmp_path):
    scan = read_ct(test_data / "torso" / "ct.nii.gz")
    values = read_label_map(test_data / "torso" / "labels_total_v2.nii.gz", scan.source)
    liver = LabelSet.total()["liver"]
    labels = LabelSet((Structure(1, "liver", colour=(255, 0, 0)),))
    draw(scan, labels, (values == liver.id).astype(np.uint8), tmp_path / "a.png", "torso")
    picture = read(tmp_path / "a.png")[74:300]
    grey = np.flatnonzero((picture.min(axis=2) > 40).any(axis=0))
    axial = slice(grey.min(), grey.min() + 500)
    columns = np.nonzero(coloured(picture[:, axial], 0))[1]
    assert columns.mean() < 250

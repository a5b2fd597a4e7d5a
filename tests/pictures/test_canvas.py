import threading

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tomoseg.errors import InputError, OutputError
from tomoseg.labels import LabelSet
from tomoseg.pictures.canvas import (
    EDGE_MARKS,
    Sheet,
    content_box,
    drawable,
    palette,
    plane_spacing,
    take_plane,
    to_display,
    window_to_grey,
)

# One voxel at each side of the patient in a 3 x 4 x 5 volume; RAS+, so the highest index is right, anterior, superior.
SIDES = {
    "R": (2, 2, 2),
    "L": (0, 2, 2),
    "A": (1, 3, 2),
    "P": (1, 0, 2),
    "S": (1, 2, 4),
    "I": (1, 2, 0),
}


def read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(("plane", "index"), [("axial", 2), ("coronal", 2), ("sagittal", 1)])
def test_each_side_is_shown_where_its_mark_says(plane, index):
    for edge, mark in enumerate(EDGE_MARKS[plane]):
        volume = np.zeros((3, 4, 5), np.uint8)
        volume[SIDES[mark]] = 1
        shown = take_plane(volume, plane, index)
        row, column = (int(place) for place in np.argwhere(shown)[0])
        rows, columns = shown.shape
        assert (column == 0, column == columns - 1, row == 0, row == rows - 1)[edge], mark


def test_planes_by_hand():
    volume = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # value = 12 x + 4 y + z
    assert take_plane(volume, "axial", 0).tolist() == [[20, 8], [16, 4], [12, 0]]
    assert take_plane(volume, "coronal", 0).tolist() == [[15, 3], [14, 2], [13, 1], [12, 0]]
    assert take_plane(volume, "sagittal", 1).tolist() == [[23, 19, 15], [22, 18, 14], [21, 17, 13], [20, 16, 12]]


def test_to_display_twice_gives_the_slice_back_and_copies_nothing():
    slice_ = np.arange(6).reshape(2, 3)
    assert np.array_equal(to_display(to_display(slice_)), slice_)
    assert np.shares_memory(to_display(slice_), slice_)


def test_plane_spacing():
    assert plane_spacing((1.0, 2.0, 5.0), "axial") == (1.0, 2.0)
    assert plane_spacing((1.0, 2.0, 5.0), "coronal") == (1.0, 5.0)
    assert plane_spacing((1.0, 2.0, 5.0), "sagittal") == (2.0, 5.0)


def test_window_to_grey():
    hu = np.array([[-32768, -200, -198], [50, 299, 32767]], np.int16)
    assert window_to_grey(hu, (-200, 300)).tolist() == [[0, 0, 1], [128, 254, 255]]  # 255 / 500 = 0.51 a HU


@pytest.mark.parametrize("window_hu", [(300, -200), (10, 10)])
def test_a_window_that_does_not_rise_is_refused(window_hu):
    with pytest.raises(InputError, match="from low to high HU"):
        window_to_grey(np.zeros((1, 1), np.int16), window_hu)


def test_palette_is_indexed_by_id():
    labels = LabelSet.total().subset(["liver", "spleen"])
    colours = palette(labels)
    assert colours.shape == (labels["liver"].id + 1, 3)
    for structure in labels:
        assert tuple(colours[structure.id].tolist()) == structure.colour
    assert colours[[0, 2, 3, 4]].tolist() == [[0, 0, 0]] * 4


def test_content_box_adds_the_margin_and_stops_at_the_edges():
    mask = np.zeros((10, 10), bool)
    mask[1, 4] = mask[3, 5] = True
    assert content_box(mask, (2, 3)) == (slice(0, 6), slice(1, 9))
    assert content_box(np.zeros((4, 6), bool), (1, 1)) == (slice(0, 4), slice(0, 6))


def test_text_that_the_font_cannot_show_is_replaced():
    assert drawable("Fémur $x_1$\n 左\x00") == "Fémur $x_1$ ??"


@given(st.text(max_size=60), st.integers(3, 40))
def test_text_is_one_line_of_at_most_the_length(text, longest):
    line = drawable(text, longest)
    assert len(line) <= longest
    assert line.splitlines() in ([], [line])


def test_a_long_text_keeps_both_ends():
    assert drawable("abcdefghij", 7) == "abc…hij"


def test_a_sheet_is_as_large_and_as_dark_as_it_says(tmp_path):
    Sheet(301, 77).save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert picture.shape == (77, 301, 3)
    assert np.unique(picture.reshape(-1, 3), axis=0).tolist() == [[0x10, 0x12, 0x14]]


def test_a_picture_lies_where_it_was_put_in_true_proportion(tmp_path):
    """Two square pixels, 100 x 50 in the sheet's pixels; and pixels twice as wide as high, 200 x 50."""
    for spacing, width in (((3.0, 3.0), 100), ((6.0, 3.0), 200)):
        sheet = Sheet(400, 200)
        sheet.view(30, 40, 300, 50, spacing).image(np.full((1, 2), 255, np.uint8))
        sheet.save(tmp_path / "a.png")
        rows, columns = np.nonzero(read(tmp_path / "a.png").min(axis=2) > 250)
        assert (rows.min(), rows.max()) == pytest.approx((40, 89), abs=1)
        left = 30 + (300 - width) / 2
        assert (columns.min(), columns.max()) == pytest.approx((left, left + width - 1), abs=1)


def test_a_structure_is_filled_outlined_and_keeps_its_hole(tmp_path):
    """A ring of 10 mm pixels, each 20 of the sheet's: colour half over black, opaque outline, black hole."""
    values = np.zeros((9, 9), np.uint8)
    values[1:8, 1:8] = 1
    values[3:6, 3:6] = 0
    sheet = Sheet(180, 180)
    view = sheet.view(0, 0, 180, 180, (10.0, 10.0))
    view.image(np.zeros((9, 9), np.uint8))
    view.structures(values, np.array([(0, 0, 0), (200, 100, 40)], np.uint8), 0.5, 3)
    sheet.save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert picture[90, 40] == pytest.approx([100, 50, 20], abs=1)  # in column 2, inside the ring
    assert picture[90, 20] == pytest.approx([200, 100, 40], abs=2)  # between columns 0 and 1
    assert picture[90, 60] == pytest.approx([200, 100, 40], abs=2)  # between columns 2 and 3, the hole's border
    assert picture[90, 90].tolist() == [0, 0, 0]
    assert picture[10, 10].tolist() == [0, 0, 0]


def test_a_structure_without_pixels_changes_nothing(tmp_path):
    for name, draw in (("a.png", False), ("b.png", True)):
        sheet = Sheet(50, 50)
        view = sheet.view(0, 0, 50, 50, (1.0, 1.0))
        view.image(np.full((5, 5), 99, np.uint8))
        if draw:
            view.structures(np.zeros((5, 5), np.uint8), np.zeros((2, 3), np.uint8), 1.0, 2)
        sheet.save(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(("width_mm", "bar_mm"), [(400, 100), (160, 50), (9, None), (40, 10)])
def test_scale_bar_is_as_long_as_it_says(tmp_path, width_mm, bar_mm):
    """A black picture 400 pixels wide: the longest bright row is the bar."""
    sheet = Sheet(400, 400)
    view = sheet.view(0, 0, 400, 400, (float(width_mm), float(width_mm)))
    view.image(np.zeros((1, 1), np.uint8))
    view.scale_bar()
    sheet.save(tmp_path / "a.png")
    longest = int((read(tmp_path / "a.png").min(axis=2) > 150).sum(axis=1).max())
    if bar_mm is None:
        assert longest == 0
    else:
        assert longest == pytest.approx(bar_mm * 400 / width_mm, abs=2)


def test_a_flat_picture_has_no_scale_bar_and_only_left_and_right(tmp_path):
    sheet = Sheet(600, 40)
    view = sheet.view(0, 0, 600, 40, (10.0, 10.0))
    view.image(np.zeros((2, 30), np.uint8))
    view.marks("axial")
    view.scale_bar()
    sheet.save(tmp_path / "a.png")
    columns = np.flatnonzero((read(tmp_path / "a.png").min(axis=2) > 150).any(axis=0))
    assert {*np.digitize(columns, [100, 500])} == {0, 2}


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="expected a writable file"):
        Sheet(10, 10).save(tmp_path / "file" / "a.png")


def test_the_users_matplotlib_settings_change_no_picture(tmp_path):
    def draw(path):
        sheet = Sheet(200, 200)
        view = sheet.view(0, 0, 200, 200, (5.0, 5.0))
        view.image(np.arange(400, dtype=np.uint8).reshape(20, 20))
        view.marks("axial")
        view.scale_bar()
        sheet.text(10, 10, "Title", 15)
        sheet.save(path)

    draw(tmp_path / "a.png")
    changes = {"font.family": ["serif"], "savefig.bbox": "tight", "savefig.dpi": 30, "image.origin": "lower"}
    with matplotlib.rc_context(changes):
        draw(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_sheets_drawn_in_threads_are_those_drawn_alone(tmp_path):
    def draw(path, number):
        sheet = Sheet(200, 100)
        view = sheet.view(0, 30, 200, 70, (1.0, 1.0))
        view.image(np.full((20, 60), number, np.uint8))
        view.marks("axial")
        sheet.text(5, 15, f"number {number}", 15)
        sheet.save(path)

    threads = [threading.Thread(target=draw, args=(tmp_path / f"{n}.png", n)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        draw(tmp_path / "alone.png", number)
        assert (tmp_path / f"{number}.png").read_bytes() == (tmp_path / "alone.png").read_bytes()

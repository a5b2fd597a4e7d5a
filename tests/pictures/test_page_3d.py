"""The page in 3D: what is in it, unpacked as its own script does, and that it asks nobody for anything."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from tomoseg.errors import GridError, OutputError
from tomoseg.labels import LabelSet
from tomoseg.pictures import page_3d
from tomoseg.pictures.page_3d import write_page_3d
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import SourceGrid

pytest.importorskip("skimage", reason="needs scikit-image")

LABELS = LabelSet.total().subset(["spleen", "liver", "rib_left_1"])
GRID = SourceGrid((40, 40, 20), np.diag([-2.0, -2.0, 3.0, 1.0]))  # a file whose x and y run to the left and back


def label_map(shift=0):
    values = np.zeros((40, 40, 20), np.uint8)
    values[4:14, 4 + shift : 14 + shift, 4:14] = LABELS["spleen"].id
    values[20:36, 10:30, 5:15] = LABELS["liver"].id
    return LabelMap(values, LABELS, GRID)


def read(path):
    text = path.read_text(encoding="utf-8")
    about = json.loads(re.search(r'id="about">(.*?)</script>', text, re.S)[1])
    data = gzip.decompress(base64.b64decode(re.search(r'id="geometry">(.*?)</script>', text, re.S)[1]))
    count, triangles, at = about["points"], about["triangles"], 0
    axes = []
    for _ in range(3):
        axes.append(_summed(data[at : at + 2 * count], np.uint16))
        at += 2 * count
    corners = _summed(data[at:], np.uint32).reshape(-1, 3)
    assert len(corners) == triangles
    points_mm = np.array(about["origin"]) + np.stack(axes, axis=1) * np.array(about["scale"])
    return about, points_mm, corners


def _summed(data, kind):
    planes = np.frombuffer(data, np.uint8).reshape(np.dtype(kind).itemsize, -1)
    return np.cumsum(np.ascontiguousarray(planes.T).view(kind).ravel(), dtype=kind)


def box_of(found, name, side=0):
    about, points_mm, corners = found
    first, count = next(one for one in about["structures"] if one["name"] == name)["surfaces"][side]
    places = points_mm[np.unique(corners[first : first + count])]
    return places.min(axis=0), places.max(axis=0)


def test_surfaces_lie_where_the_masks_lie(tmp_path):
    size = write_page_3d(label_map(), tmp_path / "a.html", "A patient")
    assert size == (tmp_path / "a.html").stat().st_size
    found = read(tmp_path / "a.html")
    # voxels 4 to 13 of RAS order, 2 mm wide; the affine to RAS+ begins at -78 mm, since its axes are turned round
    first = GRID.canonical_affine[:3, 3]
    low, high = box_of(found, "spleen")
    edges = [first[a] + GRID.canonical_affine[a, a] * np.array([3.5, 13.5]) for a in range(3)]
    lps_low = [-edges[0][1], -edges[1][1], edges[2][0]]
    lps_high = [-edges[0][0], -edges[1][0], edges[2][1]]
    assert low == pytest.approx(lps_low, abs=1.5)
    assert high == pytest.approx(lps_high, abs=1.5)


def test_it_says_of_each_structure_what_it_is(tmp_path):
    write_page_3d(label_map(), tmp_path / "a.html", "<b>")
    about, *_ = read(tmp_path / "a.html")
    spleen, liver, rib = about["structures"]
    assert spleen["volumes_ml"] == [12.0, None]  # 1000 voxels of 12 mm³
    assert liver["volumes_ml"] == [38.4, None]
    assert (rib["volumes_ml"], rib["surfaces"], rib["middle"]) == ([0.0, None], [None, None], None)
    assert spleen["colour"] == list(LABELS["spleen"].colour)
    assert (spleen["title"], rib["group"]) == ({"en": "spleen", "fr": "rate"}, {"en": "ribs", "fr": "côtes"})
    assert about["sides"] == ["Prediction"]
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<title>&lt;b&gt;</title>" in text


def test_it_asks_nobody_for_anything(tmp_path):
    write_page_3d(label_map(), tmp_path / "a.html", "a")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|<link|<img|<iframe|\bsrc=|\bimport\b|\bfetch\(|XMLHttpRequest|WebSocket", text)
    assert "default-src 'none'" in text


def test_a_reference_is_the_other_side_with_its_dice(tmp_path):
    masks = Segmentation(LABELS, GRID)
    other = label_map(shift=5)
    for k in range(20):
        masks.append(np.packbits([other.values[:, :, k] == one.id for one in LABELS], axis=0, bitorder="little"))
    write_page_3d(label_map(), tmp_path / "a.html", "a", reference=masks, lang="fr")
    found = read(tmp_path / "a.html")
    about = found[0]
    assert (about["sides"], about["lang"]) == (["Prediction", "Reference"], "fr")
    assert [one["dice"] for one in about["structures"]] == [0.5, 1.0, None]  # five of ten rows in common
    assert about["structures"][2]["volumes_ml"] == [0.0, 0.0]
    moved = box_of(found, "spleen", 1)[0] - box_of(found, "spleen", 0)[0]
    assert moved == pytest.approx((0, -10.0, 0), abs=0.5)  # five voxels of 2 mm to the front


def test_nothing_found_is_a_page_too(tmp_path):
    nothing = LabelMap(np.zeros((40, 40, 20), np.uint8), LABELS, GRID)
    write_page_3d(nothing, tmp_path / "a.html", "a")
    about, points_mm, _ = read(tmp_path / "a.html")
    assert (about["triangles"], len(points_mm)) == (0, 0)
    assert [one["volumes_ml"] for one in about["structures"]] == [[0.0, None]] * 3


def test_a_reference_on_another_grid_is_refused(tmp_path):
    other = LabelMap(np.zeros((40, 40, 10), np.uint8), LABELS, SourceGrid((40, 40, 10), np.diag([2.0, 2.0, 3.0, 1.0])))
    with pytest.raises(GridError, match="the reference"):
        write_page_3d(label_map(), tmp_path / "a.html", "a", reference=other)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / "a.html").mkdir()
    with pytest.raises(OutputError, match="expected a file to write, got a folder"):
        write_page_3d(label_map(), tmp_path / "a.html", "a")


def test_every_word_of_the_script_is_in_the_page():
    script = (page_3d.files("tomoseg.pictures") / "page_3d.js").read_text(encoding="utf-8")
    template = (page_3d.files("tomoseg.pictures") / "page_3d.html").read_text(encoding="utf-8")
    said = set(re.findall(r'say\("([^"]+)"\)', script)) | set(re.findall(r'data-(?:say|hint)="([^"]+)"', template))
    views = re.search(r"VIEWS = \{(.*?)\};", script)[1]
    said |= {quoted or plain for quoted, plain in re.findall(r'(?:"([^"]+)"|(\b\w+)): \[', views)}
    letters = re.search(r"LETTERS = \[(.*)\];", script)[1]
    said |= set(re.findall(r'"(\w)"', letters)) | {"Prediction", "Reference"}
    assert said == set(page_3d._WORDS)

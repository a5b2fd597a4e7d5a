"""Distances of simple shapes, known by geometry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.labels import LabelSet
from tomoseg.masks import structure_mask
from tomoseg.phantom.body import CAVITY, WALL
from tomoseg.phantom.canvas import KEEP, Canvas
from tomoseg.phantom.frame import Bend, Frame
from tomoseg.phantom.shapes import Block, ellipsoid, rotation, union, within, without
from tomoseg.phantom.tissues import TissueTable
from tomoseg.phantom.tubes import mirrored, sheet, spline, tube, tube_field

STRAIGHT = Frame((1.0, 1.0, 1.0), np.eye(3), Bend(0.0, 500.0, 0.0), Bend(0.0, 500.0, 0.0))
ANGLES = st.floats(-10, 10)


def at(shape, *point, frame=STRAIGHT):
    """The distance of one point."""
    block = Block(frame, tuple(np.array([float(v)]) for v in point))
    return float(shape.distance(block)[0, 0, 0])


def test_ball():
    ball = ellipsoid((10, 20, 30), (5, 5, 5))
    assert at(ball, 10, 20, 38) == pytest.approx(3, abs=1e-4)
    assert at(ball, 12, 20, 30) == pytest.approx(-3, abs=1e-4)
    assert ball.low.tolist() == [5, 15, 25]


def test_turned_ellipsoid_is_zero_at_its_tips():
    turned = ellipsoid((0, 0, 0), (20, 5, 5), rotation(z=90))
    assert at(turned, 0, 20, 0) == pytest.approx(0, abs=1e-4)
    assert at(turned, 5, 0, 0) == pytest.approx(0, abs=1e-4)
    assert turned.high == pytest.approx([5, 20, 5])


def test_tube_is_round_and_capped():
    straight = tube([[0, 0, 0, 4], [0, 0, 20, 4]])
    assert at(straight, 7, 0, 10) == pytest.approx(3, abs=1e-4)
    assert at(straight, 0, 3, 10) == pytest.approx(-1, abs=1e-4)
    assert at(straight, 0, 0, 27) == pytest.approx(3, abs=1e-4)


def test_tube_tells_position_and_height():
    block = Block(STRAIGHT, (np.array([0.0]), np.array([3.0]), np.array([5.0])))
    found = tube_field([[0, 0, 0, 4], [0, 0, 20, 4]]).field(block)
    assert found.along[0, 0, 0] == pytest.approx(0.25)
    assert found.height[0, 0, 0] == pytest.approx(3)


def test_flattened_tube_is_wider():
    flat = tube([[0, 0, 0, 4], [0, 0, 20, 4]], flatten=(2, 1, 1))
    assert at(flat, 8, 0, 10) == pytest.approx(0, abs=1e-4)
    assert at(flat, 0, 4, 10) == pytest.approx(0, abs=1e-4)


def test_sheet_has_its_thickness():
    slab = sheet([[[x, y, 0, 3] for x in (0, 20, 40)] for y in (0, 20, 40)], step=2)
    assert at(slab, 20, 20, 3) == pytest.approx(0, abs=0.2)
    assert at(slab, 20, 20, 0) < -2.7
    assert at(slab, 20, 20, 6) == pytest.approx(3, abs=0.2)


def test_spline_passes_through_its_points():
    points = np.array([[0.0, 0, 0, 1], [10, 5, 0, 2], [20, 0, 0, 1]])
    rows = spline(points, 0.1)
    for point in points:
        assert np.abs(rows - point).max(1).min() < 0.1


def test_sets():
    left, right = ellipsoid((-3, 0, 0), (5, 5, 5)), ellipsoid((3, 0, 0), (5, 5, 5))
    assert at(union(left, right), 6, 0, 0) < 0 < at(within(left, right.distance), 6, 0, 0)
    assert at(without(left, right.distance), 0, 0, 0) > 0 > at(without(left, right.distance), -6, 0, 0)
    assert at(union(left, right, smooth=4), 0, 4.2, 0) < at(union(left, right), 0, 4.2, 0)


def test_mirrored():
    assert mirrored([[3, 4, 5, 6]], -1) == [[-3, 4, 5, 6]]


@pytest.mark.parametrize("profile", [WALL, CAVITY])
@pytest.mark.parametrize("degrees", [-90, -40, 0, 30, 90, 180])
def test_profile_is_zero_on_its_surface(profile, degrees):
    block = Block(STRAIGHT, tuple(np.array([v]) for v in profile.point(degrees, 200.0)))
    assert float(profile.distance(block)[0, 0, 0]) == pytest.approx(0, abs=0.3)


@given(ANGLES, ANGLES, ANGLES, st.floats(0.8, 1.2), st.floats(-20, 20), st.floats(0, 6))
def test_body_and_scanner_are_inverse(x, y, z, scale, sway, phase):
    frame = Frame((scale, 1.0, 1.1), rotation(x, y, z), Bend(sway, 700.0, phase), Bend(-sway / 2, 900.0, phase))
    point = np.array([[40.0, -60.0, 500.0]])
    placed = frame.to_scanner(point)[0]
    back = frame.to_body(*(np.array([v]) for v in placed))
    assert [float(b[0, 0, 0]) for b in back] == pytest.approx(point[0].tolist(), abs=0.01)
    low, high = frame.scanner_box(point[0] - 5, point[0] + 5)
    assert (low < placed).all()
    assert (placed < high).all()


def canvas():
    axes = tuple(np.arange(-30, 31, 2.0) for _ in range(3))
    return Canvas(STRAIGHT, axes, TissueTable.draw(np.random.default_rng(0)))


def test_painted_ball_has_its_volume_and_soft_edge():
    scene = canvas()
    scene.paint(ellipsoid((0, 0, 0), (15.5, 15.5, 15.5)), "muscle", "spleen")
    mask = structure_mask(scene.packed(117), LabelSet.total().channel("spleen"))
    assert mask.sum() * 8 == pytest.approx(4 / 3 * np.pi * 15.5**3, rel=0.02)
    inside, air = scene.tissues.hu("muscle"), scene.tissues.hu("air")
    assert scene.hu[15, 15, 15] == pytest.approx(inside)
    line = scene.hu[:, 15, 15]
    # The edge is 2 mm wide: 14 mm is 1.5 mm inside, 16 mm is 0.5 mm outside and a quarter covered.
    assert line[15 + 7] == pytest.approx(inside)
    assert line[15 + 8] == pytest.approx(air + 0.25 * (inside - air), abs=0.5)
    assert line[15 + 9] == pytest.approx(air)
    assert (np.diff(line[:16]) >= 0).all()


def test_labels_replace_keep_or_share():
    ball, bead = ellipsoid((0, 0, 0), (15, 15, 15)), ellipsoid((0, 0, 0), (6, 6, 6))
    channels = [LabelSet.total().channel(n) for n in ("heart", "aorta")]
    for arguments, heart, aorta in (
        ({"label": "aorta"}, False, True),
        ({"label": KEEP}, True, False),
        ({"label": None}, False, False),
        ({"label": "aorta", "shared": "heart"}, True, True),
        ({"label": "aorta", "over": ("fat",)}, True, False),
    ):
        scene = canvas()
        scene.paint(ball, "myocardium", "heart")
        scene.paint(bead, "artery", **arguments)
        packed = scene.packed(117)
        assert [bool(structure_mask(packed, c)[15, 15, 15]) for c in channels] == [heart, aorta]


def test_halo_cuts_soft_tissue_but_no_bone():
    for around, expected in (("muscle", "fat"), ("bone", "bone")):
        scene = canvas()
        scene.paint(ellipsoid((0, 0, 0), (25, 25, 25)), around, "liver")
        scene.paint(ellipsoid((0, 0, 0), (9, 9, 9)), "kidney", "kidney_left", halo=4)
        ring = scene.tissue[15 + 5, 15, 15]  # 10 mm from the middle
        clean = canvas()
        clean.paint(ellipsoid((0, 0, 0), (25, 25, 25)), expected, None)
        assert ring == clean.tissue[15, 15, 15]

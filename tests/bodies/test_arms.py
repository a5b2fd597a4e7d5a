"""Arms: raised or down from a shoulder blade, or going on from where a map cuts a humerus."""

import numpy as np
import pytest

from tests.bodies.maps import AFFINE, PLAIN, STILL, changed, thorax_map
from tomoseg.bodies import build_anatomy
from tomoseg.bodies.arms import with_arms
from tomoseg.bodies.flesh import beside_hu, is_by_arm
from tomoseg.bodies.looks import draw_look
from tomoseg.bodies.lying import PatientPosition
from tomoseg.bodies.noise import noise_block
from tomoseg.bodies.placement import place
from tomoseg.labels import LabelSet

LABELS = LabelSet.total()


def arms(values: np.ndarray, **view: object) -> np.ndarray:
    """Rows of elbow, other end, radius, radius of the bone, structure; two for each side."""
    anatomy, rng = build_anatomy(values, LABELS, AFFINE), np.random.default_rng(0)
    placement, look = place(anatomy, STILL, rng), draw_look(anatomy, PLAIN, "native", rng)
    return with_arms(
        anatomy, placement, PatientPosition(), look, changed(view={"arms_share": 1, **view}).view, rng
    ).arms


@pytest.mark.parametrize(("raised", "sign"), [(1, 1), (0, -1)])
def test_from_the_shoulder_blade_up_or_down(raised, sign):
    rows = arms(thorax_map(), raised_share=raised)
    assert len(rows) == 4
    upper = rows[::2]
    assert (sign * (upper[:, 2] - upper[:, 5]) > 150).all()  # the elbow against the shoulder
    assert upper[:, 8].tolist() == [LABELS.channel(f"humerus_{side}") + 1 for side in ("left", "right")]
    assert upper[0, 3] < 0 < upper[1, 3]  # left is where x is lower
    assert rows[1::2, 8].tolist() == [-1, -1]


def test_a_cut_humerus_goes_on_in_its_direction():
    values = thorax_map()
    values[0:4, 12:30, 50:54] = LABELS["humerus_left"].id  # 72 mm to the front, at the border of the map
    rows = arms(values, raised_share=1)
    left = rows[rows[:, 8] == LABELS.channel("humerus_left") + 1][0]
    elbow, shoulder = left[:3], left[3:6]
    length = np.linalg.norm(elbow - shoulder)
    assert 230 < length < 260
    assert (elbow[1] - shoulder[1]) / length > 0.95


def test_without_a_shoulder_they_hang_beside_the_trunk():
    values = np.where(np.isin(thorax_map(), [LABELS["lung_upper_lobe_left"].id, LABELS["sternum"].id]), 5, 0)
    rows = arms(values.astype(np.uint8))
    assert (rows[::2, 2] < rows[::2, 5]).all()
    assert len(arms(thorax_map(), arms_share=0)) == 0


def test_they_lie_at_the_waist_and_the_hands_beside_the_hips():
    values = np.zeros((60, 40, 60), np.uint8)
    values[5:55, 8:32, :22] = 5  # 100 mm to each side of the middle
    values[18:42, 8:32, 22:] = 5  # 48 mm
    rows = arms(values)
    elbow, hand, radius = np.abs(rows[::2, 0]), np.abs(rows[1::2, 3]), rows[::2, 6]
    assert (elbow - 48 < 45 + radius).all()  # wall, fat and skin have 30 mm
    assert (hand - 100 > radius - 10).all()


def test_an_arm_is_nowhere_beyond_its_margin(rng):
    rows = np.array([[0, 0, 0, 10, 20, 300, 40, 11, 7], [0, 0, 0, -5, 30, -330, 30, 7.5, -1]], np.float32)
    look = draw_look(build_anatomy(thorax_map(), LABELS, AFFINE), PLAIN, "native", np.random.default_rng(0))
    solid, far = 0, 0
    for at in rng.uniform([-90, -90, -300], [90, 90, 300], (4000, 3)).astype(np.float32):
        is_arm = beside_hu(noise_block(), rows, tuple(at), look.body)[2]
        near = is_by_arm(rows, tuple(at), np.float32(0))
        assert near or not is_arm
        solid, far = solid + is_arm, far + (not near)
    assert solid > 200
    assert far > 200

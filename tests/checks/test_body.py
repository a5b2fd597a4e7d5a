from dataclasses import replace

import numpy as np
import pytest

from tests.checks.bodies import EDGE_MM, body
from tomoseg.checks.body import body_profile


def test_a_level_by_hand():
    profile = body_profile(body("abdomen", levels=2))
    assert profile.step_mm == EDGE_MM
    np.testing.assert_allclose(profile.area_cm2, np.pi / 4 * 34 * 24, rtol=0.03)
    np.testing.assert_allclose(profile.width_mm, 340, atol=EDGE_MM)
    np.testing.assert_allclose(profile.depth_mm, 240, atol=EDGE_MM)
    # 40 mm of spine in 340 x 240 mm; its middle lies 70 mm behind the centre of 240 mm
    np.testing.assert_allclose(profile.bone, 40**2 / (340 * 240), rtol=0.15)
    np.testing.assert_allclose(profile.spine, (120 - 70) / 240, atol=0.03)
    assert (profile.lateral == 0).all()
    assert (profile.border == 0).all()


def test_lungs_and_bone_at_the_sides():
    thorax, pelvis = (body_profile(body(part, levels=1)) for part in ("thorax", "pelvis"))
    assert thorax.lung[0] == pytest.approx(2 * np.pi / 4 * 110 * 150 / (340 * 240), abs=0.03)
    assert pelvis.lung[0] == 0
    assert pelvis.lateral[0] == 1
    assert pelvis.deep_mm[0] > 60  # 80 mm from the middle of 340 mm


def test_two_legs():
    profile = body_profile(body("legs", levels=1))
    assert profile.second[0] == 1
    assert profile.area_cm2[0] == pytest.approx(np.pi / 4 * 13 * 13, rel=0.05)


def test_air_has_no_body():
    profile = body_profile(body("air", levels=3))
    assert not profile.has_body.any()
    assert profile.extent_mm is None
    assert profile.border_share == 0


def test_a_body_at_the_border():
    whole = body("abdomen", levels=3)
    cut = replace(whole, hu=whole.hu[25:55, 20:40])
    cut = type(whole).from_array(np.ascontiguousarray(cut.hu), whole.affine)
    assert body_profile(cut).border_share > 0.9  # an opening rounds the corners

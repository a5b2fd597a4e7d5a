"""What is drawn for a slice: within its limits, from the key alone, each group for itself."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.test_augmentation import EVERYTHING, OFF
from tomoseg.config import AugmentationConfig
from tomoseg.training.changes import Change, draw_change

NEW = {"elastic_pixels": 3.0, "blur_pixels": 2.0, "low_resolution": 0.5, "cut": 0.4, "gamma": 0.5}
GROUPS = {
    "rotation_degrees": {"turn_degrees"},
    "scale": {"zoom"},
    "shift": {"shift"},
    "elastic_pixels": {"bend_pixels"},
    "hu_scale": {"hu_factor"},
    "hu_shift": {"hu_shift"},
    "noise_hu": {"noise_hu"},
    "blur_pixels": {"blur_pixels"},
    "low_resolution": {"resolution"},
    "cut": {"view"},
    "gamma": {"gamma"},
    "position_mm": {"misplaced_mm"},
}
KEYS = [(0, 0, k) for k in range(200)]


def different(one, other):
    return {f.name for f in fields(Change) if getattr(one, f.name) != getattr(other, f.name)}


def test_nothing_asked_for_is_nothing():
    off = AugmentationConfig(**OFF)
    for key in KEYS[:20]:
        assert different(draw_change(key, off), Change()) <= {"bend_points", "bend_seed", "noise_seed"}


@pytest.mark.parametrize("setting", GROUPS)
def test_a_setting_changes_what_it_names_and_no_other_draw(setting):
    without = EVERYTHING.model_copy(update={setting: 0.0})
    changed = set()
    for key in KEYS[:50]:
        changed |= different(draw_change(key, EVERYTHING), draw_change(key, without))
    assert changed == GROUPS[setting]


@pytest.mark.parametrize("setting", NEW)
def test_new_groups_are_off_and_happen_as_often_as_asked(setting):
    name = setting.removesuffix("_pixels") + "_probability"
    assert getattr(AugmentationConfig(), setting) == 0
    assert 0 < getattr(AugmentationConfig(), name) < 1
    for probability, least, most in ((0.0, 0, 0), (0.25, 30, 70), (1.0, 200, 200)):
        config = AugmentationConfig(**OFF, **{setting: NEW[setting], name: probability})
        drawn = [draw_change(key, config) for key in KEYS]
        happened = sum(bool(different(change, Change()) & GROUPS[setting]) for change in drawn)
        assert least <= happened <= most


@given(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)))
def test_within_the_limits(key):
    change, limits = draw_change(key, EVERYTHING), EVERYTHING
    assert abs(change.turn_degrees) <= limits.rotation_degrees
    assert 1 / (1 + limits.scale) <= change.zoom <= 1 + limits.scale
    assert max(map(abs, change.shift)) <= limits.shift
    assert 0 <= change.bend_pixels <= limits.elastic_pixels
    assert change.bend_points == limits.elastic_points
    assert 1 - limits.hu_scale <= change.hu_factor <= 1 + limits.hu_scale
    assert abs(change.hu_shift) <= limits.hu_shift
    assert 0 <= change.noise_hu <= limits.noise_hu
    assert 0 <= change.blur_pixels <= limits.blur_pixels
    assert 1 - limits.low_resolution <= change.resolution <= 1
    assert 1 / (1 + limits.gamma) <= change.gamma <= 1 + limits.gamma
    if change.view is not None:
        assert 1 - limits.cut <= min(change.view.kept) <= max(change.view.kept) <= 1
        assert max(map(abs, change.view.place)) <= 1


def test_the_limits_are_reached_nearly():
    drawn = [draw_change(key, EVERYTHING) for key in KEYS]
    for name, lowest, highest in (
        ("turn_degrees", -60, 60),
        ("zoom", 1 / 1.4, 1.4),
        ("hu_factor", 0.5, 1.5),
        ("hu_shift", -150, 150),
        ("noise_hu", 0, 100),
        ("bend_pixels", 0, 2),
        ("blur_pixels", 0, 2),
        ("resolution", 0.2, 1),
        ("gamma", 1 / 1.8, 1.8),
    ):
        values = [getattr(change, name) for change in drawn]
        assert min(values) == pytest.approx(lowest, abs=0.05 * (highest - lowest))
        assert max(values) == pytest.approx(highest, abs=0.05 * (highest - lowest))
    views = [change.view for change in drawn if change.view is not None]
    assert 0.35 < np.mean([view.disc for view in views]) < 0.65


def test_the_key_alone_decides():
    drawn = [draw_change(key, EVERYTHING) for key in KEYS]
    assert drawn == [draw_change(key, EVERYTHING) for key in KEYS]
    assert len(set(drawn)) == len(KEYS)

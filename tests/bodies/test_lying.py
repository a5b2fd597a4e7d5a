"""How patients lie: which side is down, and what fluid and gas do about it."""

import numpy as np
import pytest
from scipy import ndimage

from tests.bodies.maps import AFFINE, STILL, block_anatomy, block_map, changed
from tomoseg.bodies import BodyConfig, build_anatomy, make_body
from tomoseg.bodies.config import FieldOfViewConfig, ShapeConfig
from tomoseg.bodies.lying import Down, PatientPosition, draw_lying, side_down
from tomoseg.bodies.placement import place
from tomoseg.bodies.render import _index
from tomoseg.labels import LabelSet

LABELS = LabelSet.total()
GRID = (4.0, 4.0, 4.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shares", "downs", "turns"),
    [
        ({"prone_share": 1, "entry_share": 1}, {(0, 1)}, {0}),
        ({"prone_share": 1, "entry_share": 0}, {(0, -1)}, {180}),
        ({"side_share": 1, "prone_share": 0, "entry_share": 1}, {(-1, 0), (1, 0)}, {0}),
        ({"side_share": 1, "prone_share": 0, "entry_share": 0}, {(0, -1)}, {-90, 90}),
        ({"side_share": 0, "prone_share": 0, "oblique_share": 1, "oblique_deg": (30, 30)}, {(0, -1)}, {-30, 30}),
        ({"side_share": 0, "prone_share": 0, "oblique_share": 0}, {(0, -1)}, {0}),
    ],
)
def test_where_down_is_and_how_far_the_body_is_turned(shares, downs, turns):
    config, one = FieldOfViewConfig(**shares), rng()
    drawn = [draw_lying(config, one) for _ in range(40)]
    assert {lying.down for lying in drawn} == downs
    assert {lying.turn_deg for lying in drawn} == turns


@pytest.mark.parametrize(
    ("lying", "down"),
    [
        (PatientPosition(), Down.BACK),
        (PatientPosition((0, 1)), Down.FRONT),
        (PatientPosition((-1, 0)), Down.LEFT),
        (PatientPosition(turn_deg=180), Down.FRONT),
        (PatientPosition(turn_deg=90), Down.LEFT),  # turned to its left: the left of the body comes down
        (PatientPosition(turn_deg=30), Down.BACK),
    ],
)
def test_the_side_of_the_body_that_is_down(lying, down):
    assert side_down(place(block_anatomy(), STILL, rng(), lying.turn_deg), lying) == down


def test_places_are_found_through_turn_and_bend():
    anatomy = block_anatomy()
    placement = place(anatomy, ShapeConfig(bend_mm=(6, 6), turn_deg=(8, 8)), rng(), 40)
    points = np.array([[120.0, 100, 60], [60, 80, 40], [160, 120, 90]])
    found = placement.find(points)
    index = np.linalg.solve(anatomy.affine[:3, :3], (points - anatomy.affine[:3, 3]).T).T
    way = placement.way
    for at, expected in zip(found.astype(np.float32), index, strict=True):
        assert _index(way.to_index, way.bend, way.bend_grid, tuple(at)) == pytest.approx(expected, abs=0.3)


def stomach(config: BodyConfig) -> tuple[np.ndarray, np.ndarray]:
    """Where gas and where fluid are within a stomach of 80 x 80 x 120 mm, in voxels."""
    values = np.where(block_map() == LABELS["liver"].id, LABELS["stomach"].id, 0).astype(np.uint8)
    body = make_body(build_anatomy(values, LABELS, AFFINE), 1, config, GRID)
    inside = ndimage.binary_erosion(body.numbers == LABELS.channel("stomach") + 1, iterations=2)
    return np.argwhere(inside & (body.volume.hu < -900)), np.argwhere(inside & (abs(body.volume.hu) < 100))


@pytest.mark.parametrize(
    ("view", "axis", "up"),
    [
        ({}, 1, 1),
        ({"prone_share": 1, "entry_share": 1}, 1, -1),
        ({"prone_share": 1, "entry_share": 0}, 1, 1),
        ({"side_share": 1, "entry_share": 0}, 1, 1),
        ({"oblique_share": 1, "oblique_deg": (40, 40)}, 1, 1),
    ],
)
def test_gas_lies_over_a_flat_level_of_fluid(view, axis, up):
    flesh = {"stomach_gas": (0.5, 0.5), "food_roughness_hu": (2, 2)}
    gas, fluid = stomach(changed(view=view, flesh=flesh))
    assert len(gas) > 500
    assert len(fluid) > 500
    assert (up * gas[:, axis]).min() >= (up * fluid[:, axis]).max() - 1


def test_on_the_side_the_gas_is_on_the_other_side_and_the_table_below():
    view = {"side_share": 1, "entry_share": 1, "table_share": 1, "table_hu": (200, 200), "air_mm": (60, 60)}
    gas, fluid = stomach(changed(view=view, flesh={"stomach_gas": (0.5, 0.5)}))
    higher = gas[:, 0].mean() > fluid[:, 0].mean()
    body = make_body(block_anatomy(), 1, changed(view=view), GRID)
    found = np.argwhere(body.numbers > 0)[:, 0]
    bright = body.volume.hu > 100
    left, right = bright[: found.min() - 12].sum(), bright[found.max() + 13 :].sum()
    assert (left > 0, right > 0) == ((True, False) if higher else (False, True))

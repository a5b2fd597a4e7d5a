"""Teeth stand side by side along the arch of a jaw, of enamel and dentine, and count as what the map has there."""

import numpy as np
import pytest

from tests.bodies.maps import block_anatomy, changed
from tomoseg.bodies import build_anatomy, make_body
from tomoseg.bodies.config import TeethConfig
from tomoseg.bodies.teeth import draw_teeth
from tomoseg.labels import LabelSet

LABELS = LabelSet.total()
SKULL = LABELS.channel("skull") + 1
MM = 2.0
MIDDLE, FRONT, CHIN = 50.0, 84.0, 20.0
ALL = TeethConfig(toothless_share=0, lacking=(0, 0), filled=(0, 0), bite_mm=(40, 40), crown_mm=(8, 8), root_mm=(12, 12))


def jaw(height_mm: float) -> np.ndarray:
    """An arch of bone, 8 mm thick and 30 mm in radius, open to the back, on a grid of 2 mm."""
    values = np.zeros((50, 50, 60), np.uint8)
    x, y = (np.arange(50)[:, None] * MM - MIDDLE, np.arange(50)[None] * MM - 50)
    radius = np.hypot(x, y)
    arch = (np.abs(radius - 30) <= 4) & (y > -12)
    values[arch, int(CHIN / MM) : int((CHIN + height_mm) / MM)] = LABELS["skull"].id
    return values


def teeth_of(values: np.ndarray, config: TeethConfig = ALL, seed: int = 1):
    anatomy = build_anatomy(values, LABELS, np.diag([MM, MM, MM, 1.0]))
    moved = anatomy.affine[:3, 3]
    pieces = draw_teeth(anatomy, {SKULL}, config, 3000.0, np.random.default_rng(seed))
    return [piece._replace(start=tuple(piece.start + moved), end=tuple(piece.end + moved)) for piece in pieces]


def test_two_rows_stand_in_the_arch_and_bite_upon_one_another():
    pieces = teeth_of(jaw(90))
    crowns = [piece for piece in pieces if piece.hu >= 1900]
    assert len(crowns) in range(22, 29)
    assert len(pieces) == 2 * len(crowns)  # each with a root
    places = np.array([piece.start[:2] for piece in crowns]) - [MIDDLE, 50]
    assert (np.abs(np.hypot(*places.T) - 30) < 2.5).all()
    bite = CHIN + 40
    for way in (-1, 1):
        row = [piece for piece in crowns if way * (piece.end[2] - bite) > 0]
        assert 10 <= len(row) <= 14
        assert all(abs(piece.end[2] - bite - way * 8.4) < 2.1 for piece in row)  # the map's voxels are 2 mm high
        x = np.sort([piece.start[0] for piece in row])
        assert abs(x.mean() - MIDDLE) < 3
        assert (np.diff(x)[len(x) // 2 - 3 : len(x) // 2 + 2] > 3).all()  # side by side in front


def test_a_chin_without_the_rest_of_its_jaw_has_none():
    assert teeth_of(jaw(14)) == []


def test_the_lower_row_stands_alone_in_a_map_that_ends_within_it():
    pieces = teeth_of(jaw(42))
    assert pieces
    assert max(piece.end[2] for piece in pieces) < CHIN + 40


@pytest.mark.parametrize("config", [{"toothless_share": 1}, {"lacking": (1, 1)}])
def test_some_bodies_have_none(config):
    assert teeth_of(jaw(90), ALL.model_copy(update=config)) == []


def test_metal_fills_or_caps_them():
    filled = teeth_of(jaw(90), ALL.model_copy(update={"filled": (1, 1), "capped_share": 0}))
    capped = teeth_of(jaw(90), ALL.model_copy(update={"filled": (1, 1), "capped_share": 1}))
    assert sum(piece.hu == 3000 for piece in filled) == len(filled) / 3
    assert sum(piece.hu == 3000 for piece in capped) == len(capped) / 2


def test_a_scan_shows_enamel_and_the_map_keeps_its_structures():
    anatomy = build_anatomy(jaw(90), LABELS, np.diag([MM, MM, MM, 1.0]))
    bare, toothed = (
        make_body(anatomy, 3, changed(teeth=teeth.model_dump()), (1.5, 1.5, 1.5))
        for teeth in (TeethConfig(toothless_share=1), ALL)
    )
    assert np.array_equal(bare.numbers, toothed.numbers)
    assert toothed.volume.hu.max() > bare.volume.hu.max() + 200
    changed_voxels = np.argwhere(np.abs(toothed.volume.hu.astype(int) - bare.volume.hu) > 150)  # more than dark bands
    low, high = np.argwhere(toothed.numbers == SKULL).min(0), np.argwhere(toothed.numbers == SKULL).max(0)
    assert (changed_voxels.min(0) >= low - 6).all()
    assert (changed_voxels.max(0) <= high + 6).all()


def test_bodies_without_a_jaw_are_what_they_were():
    given = [
        make_body(block_anatomy(), 5, changed(teeth=teeth.model_dump()), (4.0, 4.0, 4.0))
        for teeth in (ALL, TeethConfig())
    ]
    assert np.array_equal(given[0].volume.hu, given[1].volume.hu)

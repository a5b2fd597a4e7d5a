"""Bodies of a map of boxes: HU by structure, whole structures, seeds, grids, fields of view."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from tests.bodies.maps import PLAIN, block_anatomy
from tomoseg.bodies import BodyConfig, MadeBody, make_body
from tomoseg.bodies.config import ViewConfig
from tomoseg.bodies.hu import PHASES
from tomoseg.errors import InputError
from tomoseg.labels import LabelSet
from tomoseg.masks import unpack

LABELS = LabelSet.total()
GRID = (4.0, 4.0, 4.0)
anatomy = cache(block_anatomy)


@cache
def plain(seed: int = 3) -> MadeBody:
    return make_body(anatomy(), seed, PLAIN, GRID)


def mask(body: MadeBody, name: str) -> np.ndarray:
    return body.numbers == LABELS.channel(name) + 1


def core(body: MadeBody, name: str) -> np.ndarray:
    return body.volume.hu[ndimage.binary_erosion(mask(body, name), iterations=2)]


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_hu_of_a_structure_are_from_its_range(seed):
    body = plain(seed)
    assert body.phase == "portal"
    for name, tissue in (("spleen", "spleen"), ("vertebrae_L1", "bone")):
        low, high = getattr(PLAIN.hu, tissue)[PHASES.index("portal")]
        assert low - 1 <= np.median(core(body, name)) <= high + 1


def test_undeformed_structures_keep_their_volume_and_place():
    body = plain()
    for name in ("liver", "spleen", "kidney_left", "vertebrae_L1"):
        found = mask(body, name)
        number = LABELS.channel(name) + 1
        expected = int((anatomy().numbers == number).sum())
        assert found.sum() == pytest.approx(expected, rel=0.12)
    x = {name: np.argwhere(mask(body, name))[:, 0].mean() for name in ("liver", "kidney_left", "spleen")}
    assert x["liver"] > x["kidney_left"] > x["spleen"]  # right is where x is larger


@pytest.mark.parametrize("seed", range(4))
def test_bent_structures_stay_in_one_piece(seed):
    config = BodyConfig(view=ViewConfig(whole_share=1, narrow_share=0), disease=PLAIN.disease)
    body = make_body(anatomy(), seed, config, GRID)
    for name in ("liver", "spleen", "vertebrae_L1"):
        pieces, count = ndimage.label(mask(body, name), np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        assert count == 0 or sizes.max() >= 0.999 * sizes.sum()


def test_from_outside_in_there_are_air_skin_fat_and_muscle():
    body = plain()
    _, y, z = np.argwhere(mask(body, "spleen")).mean(0).astype(int)
    there = np.s_[:, y - 1 : y + 2, z - 1 : z + 2]
    side = body.volume.hu[there].mean((1, 2))  # from the left, through the spleen
    first = int(np.flatnonzero(side > -500)[0])
    spleen = int(np.flatnonzero(mask(body, "spleen")[there].any((1, 2)))[0])
    assert np.median(side[:first]) < -950
    assert side[first + 1 : spleen].min() < -60  # fat
    assert side[first + 1 : spleen].max() > 0  # muscle
    assert 20 < (spleen - first) * GRID[0] < 60  # 12 mm of wall, 16 of fat, each more or less


def test_same_seed_same_bytes_and_other_seed_another_body():
    one, again, other = (make_body(anatomy(), seed, spacing_mm=(8, 8, 8)) for seed in (7, 7, 8))
    assert one.volume.hu.tobytes() == again.volume.hu.tobytes()
    assert one.numbers.tobytes() == again.numbers.tobytes()
    assert one.volume.affine.tobytes() == again.volume.affine.tobytes()
    assert one.volume.hu.shape != other.volume.hu.shape or not np.array_equal(one.volume.hu, other.volume.hu)


def test_the_grid_is_what_was_asked_for_or_the_scanners():
    assert plain().volume.spacing_mm == pytest.approx(GRID)
    narrow = BodyConfig(view=ViewConfig(height_mm=(40, 40), whole_share=0, narrow_share=1, narrow_mm=(60, 60)))
    x, y, z = make_body(anatomy(), 1, narrow).volume.spacing_mm
    assert x == y
    assert 0.4 <= x <= 1.6
    assert 0.6 <= z <= 7


def test_masks_ids_and_numbers_say_the_same():
    body = plain()
    masks = unpack(body.packed, len(LABELS))
    assert np.array_equal(masks[LABELS.channel("liver")], mask(body, "liver"))
    assert np.array_equal(body.ids == LABELS["liver"].id, mask(body, "liver"))
    assert masks.sum() == (body.numbers > 0).sum()


@pytest.mark.parametrize("seed", range(3))
def test_a_part_is_as_high_and_as_wide_as_asked_for(seed):
    view = ViewConfig(height_mm=(48, 48), whole_share=0, narrow_share=1, narrow_mm=(100, 100))
    body = make_body(anatomy(), seed, BodyConfig(view=view), GRID)
    assert body.volume.shape == (25, 25, 12)
    assert body.numbers.any()


def changed(**sections) -> BodyConfig:
    """The plain settings, with some others."""
    return BodyConfig(**{name: {**getattr(PLAIN, name).model_dump(), **values} for name, values in sections.items()})


def test_a_thin_shell_brightens_the_outer_voxels_of_a_bone_by_its_share_of_them():
    bones = {"vertebra_mm": (1, 1), "arch_mm": (1, 1), "unlike_share": 0}
    hu = {"cortical": ((1100, 1100),) * 4, "bone": ((100, 100),) * 4}
    body = make_body(anatomy(), 3, changed(shape={}, disease={}, view={}, scanner={}, bones=bones, hu=hu), GRID)
    vertebra = mask(body, "vertebrae_L1")
    inside = ndimage.binary_erosion(vertebra, iterations=3)
    assert np.median(body.volume.hu[inside]) == pytest.approx(100, abs=15)
    outer = vertebra & ~ndimage.binary_erosion(vertebra) & ndimage.binary_erosion(vertebra | (body.numbers == 0))
    assert 150 < np.median(body.volume.hu[outer]) < 450  # 1 of 4 mm: 350, less where fat comes in


@pytest.mark.parametrize("seed", range(3))
def test_narrow_views_of_the_spine_show_it_in_their_middle(seed):
    view = {"whole_share": 1, "narrow_share": 1, "narrow_mm": (120, 120), "spine_share": 1}
    body = make_body(anatomy(), seed, changed(shape={}, view=view), GRID)
    x, y, _ = np.argwhere(mask(body, "vertebrae_L1")).mean(0) * GRID[0]
    assert abs(x - 60) < 45
    assert abs(y - 60) < 45


def test_round_views_have_nothing_in_their_corners():
    view = {"narrow_share": 1, "narrow_mm": (100, 100), "round_share": 1, "spine_share": 1, "whole_share": 1}
    body = make_body(anatomy(), 1, changed(shape={}, view=view), GRID)
    assert not body.numbers[0, 0].any()
    assert (body.volume.hu[0, 0] == body.volume.hu.min()).all()
    assert body.numbers[12, 12].any()


def test_refusals():
    with pytest.raises(InputError, match="expected a seed from 0 up, got -1"):
        make_body(anatomy(), -1)
    with pytest.raises(InputError, match=r"expected voxels of 0.3 mm or more, got \(0.1, 1, 1\)"):
        make_body(anatomy(), 0, spacing_mm=(0.1, 1, 1))

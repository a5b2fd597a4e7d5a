"""Bodies of a map of boxes: HU by structure, whole structures, seeds, grids, fields of view."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from tests.bodies.maps import AFFINE, PLAIN, block_anatomy, block_map, changed, chest_map, head_map
from tomoseg.bodies import BodyConfig, MadeBody, build_anatomy, make_body
from tomoseg.bodies.config import FieldOfViewConfig
from tomoseg.bodies.hu import PHASES
from tomoseg.errors import ConfigError, InputError
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
    config = BodyConfig(view=FieldOfViewConfig(whole_share=1, narrow_share=0), disease=PLAIN.disease)
    body = make_body(anatomy(), seed, config, GRID)
    for name in ("liver", "spleen", "vertebrae_L1"):
        pieces, count = ndimage.label(mask(body, name), np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        assert count == 0 or sizes.max() >= 0.999 * sizes.sum()


def test_the_table_is_hollow_and_as_near_to_the_body_as_its_mattress_is_thick():
    view = {"table_share": 1, "table_hu": (200, 200), "table_gap_mm": (12, 12), "air_mm": (120, 120)}
    hu = make_body(anatomy(), 3, changed(view=view), GRID).volume.hu
    tops, gaps = [], []
    for column in hu.max(2) > -970:  # along y, from below: foam and shell of the table, air, the body
        ends = np.flatnonzero(np.diff(column.astype(int), append=0) < 0)
        starts = np.flatnonzero(np.diff(column.astype(int), prepend=0) > 0)
        tops += [int(ends[0])] if len(ends) else []
        gaps += [(starts[1] - ends[0]) * GRID[1]] if len(starts) > 1 else []
    assert min(tops[0], tops[-1]) > min(tops)
    assert 4 <= min(gaps) <= 16


def test_clothes_that_lie_far_from_the_skin_are_all_there():
    flesh = {"clothes_share": 1, "mask_share": 0, "clothes_mm": (2, 2), "clothes_gap_mm": (9, 9)}
    config = changed(flesh={**flesh, "clothes_hu": (-600, -600), "fat_mm": (3, 3)}, view={"air_mm": (40, 40)})
    hu = make_body(anatomy(), 3, config, GRID).volume.hu
    x, y, z = (n // 2 for n in hu.shape)
    for row in (hu[:, y, z], hu[::-1, y, z], hu[x, :, z], hu[x, ::-1, z]):
        first = int(np.flatnonzero(row > -950)[0])
        skin = int(np.flatnonzero(row > -200)[0])
        assert 4 <= (skin - first) * GRID[0] <= 24
        assert row[first : skin - 1].max() < -500


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
    narrow = BodyConfig(view=FieldOfViewConfig(height_mm=(40, 40), whole_share=0, narrow_share=1, narrow_mm=(60, 60)))
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
    view = FieldOfViewConfig(height_mm=(48, 48), whole_share=0, narrow_share=1, narrow_mm=(100, 100))
    body = make_body(anatomy(), seed, BodyConfig(view=view), GRID)
    assert body.volume.shape == (25, 25, 12)
    assert body.numbers.any()


def test_a_thin_shell_brightens_the_outer_voxels_of_a_bone_by_its_share_of_them():
    bones = {"vertebra_mm": (1, 1), "arch_mm": (1, 1), "unlike_share": 0}
    hu = {"cortical": ((1100, 1100),) * 4, "bone": ((100, 100),) * 4}
    body = make_body(anatomy(), 3, changed(bones=bones, hu=hu), GRID)
    vertebra = mask(body, "vertebrae_L1")
    inside = ndimage.binary_erosion(vertebra, iterations=3)
    assert np.median(body.volume.hu[inside]) == pytest.approx(100, abs=15)
    outer = vertebra & ~ndimage.binary_erosion(vertebra) & ndimage.binary_erosion(vertebra | (body.numbers == 0))
    assert 150 < np.median(body.volume.hu[outer]) < 450  # 1 of 4 mm: 350, less where fat comes in


@pytest.mark.parametrize("seed", range(3))
def test_narrow_views_of_the_spine_show_it_in_their_middle(seed):
    view = {"whole_share": 1, "narrow_share": 1, "narrow_mm": (120, 120), "spine_share": 1}
    body = make_body(anatomy(), seed, changed(view=view), GRID)
    x, y, _ = np.argwhere(mask(body, "vertebrae_L1")).mean(0) * GRID[0]
    assert abs(x - 60) < 45
    assert abs(y - 60) < 45


def test_round_views_have_nothing_in_their_corners():
    view = {"narrow_share": 1, "narrow_mm": (100, 100), "round_share": 1, "spine_share": 1, "whole_share": 1}
    body = make_body(anatomy(), 1, changed(view=view), GRID)
    assert not body.numbers[0, 0].any()
    assert (body.volume.hu[0, 0] == body.volume.hu.min()).all()
    assert body.numbers[12, 12].any()


def test_fluid_beside_a_lung_is_no_lung_and_lies_below_lung_without_air():
    chest = build_anatomy(chest_map(), LABELS, AFFINE)
    disease = {"effusion_share": 1, "effusion_height": (0.4, 0.4), "airless_height": (0.3, 0.3)}
    ill = make_body(chest, 1, changed(disease=disease), GRID)
    well = make_body(chest, 1, PLAIN, GRID)
    lung = mask(well, "lung_lower_lobe_left")
    share = (lung & mask(ill, "lung_lower_lobe_left")).sum() / lung.sum()
    assert share == pytest.approx(0.6, abs=0.05)
    assert -10 < np.median(ill.volume.hu[lung & (ill.numbers == 0)]) < 40
    x, _, z = np.argwhere(lung).mean(0).astype(int)
    column = ill.volume.hu[x, np.flatnonzero(lung[x, :, z]), z]
    n = len(column)
    assert column[: int(0.6 * n)].min() > -100
    assert column[int(0.8 * n) :].max() < -400


def test_a_head_is_shown_from_its_top_down():
    head = build_anatomy(head_map(), LABELS, AFFINE)
    view = {"head_share": 1, "head_height_mm": (60, 60), "head_width_mm": (200, 200)}
    body = make_body(head, 2, changed(view=view), GRID)
    assert body.volume.shape[:2] == (50, 50)
    assert mask(body, "skull").any()
    assert not mask(body, "vertebrae_C4").any()


def test_women_are_made_of_maps_of_men():
    values = block_map()
    values[24:34, 22:26, 10:20] = LABELS["prostate"].id
    man = build_anatomy(values, LABELS, AFFINE)
    assert mask(make_body(man, 1, changed(shape={"women_share": 0}), GRID), "prostate").any()
    assert not mask(make_body(man, 1, changed(shape={"women_share": 1}), GRID), "prostate").any()


def test_the_only_structure_is_never_taken_out():
    values = np.where(block_map() == LABELS["spleen"].id, LABELS["spleen"].id, 0).astype(np.uint8)
    lonely = build_anatomy(values, LABELS, AFFINE)
    for seed in range(3):
        body = make_body(lonely, seed, changed(shape={"lacking_share": 1, "women_share": 1}), (12, 12, 12))
        assert mask(body, "spleen").any()


def test_a_view_that_shows_nothing_is_refused_after_some_tries():
    values = np.zeros((60, 50, 60), np.uint8)
    values[5, 5, 5], values[55, 45, 55] = LABELS["liver"].id, LABELS["spleen"].id
    view = {"whole_share": 0, "height_mm": (20, 20), "narrow_share": 1, "narrow_mm": (20, 20), "spine_share": 0}
    with pytest.raises(
        InputError, match=r"the map: expected a structure in at least one of 8 fields of view, got none; raise"
    ):
        make_body(build_anatomy(values, LABELS, AFFINE, "the map"), 0, changed(view=view), GRID)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"shape": {"size": (1.2, 0.8)}}, "expected the lower bound first,"),
        ({"shape": {"size": (0, 1)}}, "expected numbers above 0"),
        ({"scanner": {"noise_hu": (float("nan"), 3)}}, "expected a finite number"),
        ({"disease": {"cysts": (3, 1)}}, "expected two numbers of 0 or more, the lower one first,"),
        ({"view": {"table_share": 2}}, "less than or equal to 1"),
    ],
)
def test_ranges_that_cannot_be(ranges, message):
    with pytest.raises(ConfigError, match=message):
        BodyConfig(**ranges)


def test_refusals():
    with pytest.raises(InputError, match="expected a seed of 0 or more, got -1"):
        make_body(anatomy(), -1)
    with pytest.raises(InputError, match=r"expected voxels of 0.3 mm or more, got \(0.1, 1, 1\)"):
        make_body(anatomy(), 0, spacing_mm=(0.1, 1, 1))


def test_a_fatty_pancreas_is_a_mixture_of_gland_and_fat():
    values = np.where(block_map() == LABELS["liver"].id, LABELS["pancreas"].id, block_map()).astype(np.uint8)
    gland = build_anatomy(values, LABELS, AFFINE)
    hu = {"pancreas": ((40, 40),) * 4, "fat": ((-100, -100),) * 4}
    well = core(make_body(gland, 3, changed(hu=hu), GRID), "pancreas")
    disease = {"fatty_pancreas_share": 1, "fatty_pancreas": (0.5, 0.5)}
    fatty = core(make_body(gland, 3, changed(hu=hu, disease=disease), GRID), "pancreas")
    assert well.mean() == pytest.approx(40, abs=1)
    assert fatty.mean() == pytest.approx(-30, abs=6)  # half of it is fat
    assert well.std() < 2
    assert fatty.std() > 20


def test_a_fatty_liver_is_darker_by_its_share_of_fat():
    hu = {"liver": ((60, 60),) * 4, "fat": ((-100, -100),) * 4}
    disease = {"fatty_liver_share": 1, "fatty_liver": (0.25, 0.25)}
    contrast = {"native_share": 1, "portal_share": 0}
    liver = core(make_body(anatomy(), 3, changed(hu=hu, disease=disease, contrast=contrast), GRID), "liver")
    assert np.median(liver) == pytest.approx(20, abs=3)


def test_widened_hollows_of_a_kidney_hold_urine_and_count_as_kidney():
    hu = {"fluid": ((5, 5),) * 4, "kidney_pelvis": ((0, 0),) * 4}
    disease = {"dilated_share": 1, "dilated_mm": (10, 10)}
    well, ill = (make_body(anatomy(), 3, changed(hu=hu, disease=part), GRID) for part in ({}, disease))
    assert np.array_equal(well.numbers, ill.numbers)
    deep = ndimage.binary_erosion(mask(ill, "kidney_left"), iterations=4)
    assert np.median(ill.volume.hu[deep]) == pytest.approx(5, abs=2)
    assert np.median(well.volume.hu[deep]) > 100


@pytest.mark.parametrize(("times", "low", "high"), [(1.4, 1.3, 2.8), (0.65, 0.25, 0.75)])
def test_a_bladder_is_fuller_or_emptier(times, low, high):
    values = np.where(block_map() == LABELS["kidney_left"].id, LABELS["urinary_bladder"].id, 0).astype(np.uint8)
    values[2:4], values[-4:-2] = LABELS["hip_left"].id, LABELS["hip_right"].id
    pelvis = build_anatomy(values, LABELS, AFFINE)
    shape = {"swollen_share": 1, "swollen": (times, times)}
    plain, other = (make_body(pelvis, 3, changed(shape=part), GRID) for part in ({}, shape))
    assert low < mask(other, "urinary_bladder").sum() / mask(plain, "urinary_bladder").sum() < high


def test_a_collapsed_vertebra_is_lower():
    values = block_map()
    values[:, :, :11], values[:, :, 19:] = 0, 0  # of 32 mm
    values[2, 2, 2], values[-2, -2, -2] = 5, 5
    spine = build_anatomy(values, LABELS, AFFINE)
    shape = {"collapsed_share": 1, "collapsed": (0.6, 0.6)}
    plain, other = (make_body(spine, 3, changed(shape=part), GRID) for part in ({}, shape))
    volumes = [mask(body, "vertebrae_L1").sum() for body in (plain, other)]
    assert 0.55 < volumes[1] / volumes[0] < 0.92  # 0.6 in its middle, less so at its ends

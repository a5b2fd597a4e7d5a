"""What is derived of a label map, and maps that cannot be used."""

import numpy as np
import pytest

from tests.bodies.maps import AFFINE, block_anatomy, chest_map, head_map
from tomoseg.bodies import build_anatomy
from tomoseg.bodies.distances import DEPTH_UNIT_MM, closed_distance, depth_within, spread
from tomoseg.bodies.kinds import Fill, kind_of, kinds_of
from tomoseg.bodies.regions import Region
from tomoseg.errors import InputError
from tomoseg.labels import LabelSet

TOTAL = LabelSet.total()


def test_the_map_is_cropped_to_its_structures_and_stays_in_place():
    anatomy = block_anatomy()
    x, y, z = anatomy.numbers.shape
    assert (x, y, z) == (50, 32, 30)  # boxes from 6 to 54 and 10 to 40, one voxel around, all slices
    assert anatomy.affine[:3, 3].tolist() == [20.0, 36.0, 0.0]


def test_every_one_of_the_117_is_made_of_something():
    kinds, generic = kinds_of(TOTAL)
    assert generic == ()
    of = dict(zip(TOTAL.names, kinds, strict=True))
    assert {n for n, kind in of.items() if kind.fill == Fill.LUNG} == {n for n in TOTAL.names if n.startswith("lung_")}
    bones = ("vertebrae_", "rib_", "hip_", "femur_", "humerus_", "scapula_", "clavicula_", "sternum", "skull", "sacrum")
    assert {n for n, kind in of.items() if kind.fill == Fill.BONE} == {n for n in TOTAL.names if n.startswith(bones)}
    assert of["kidney_cyst_left"].tissue == "fluid"
    assert of["inferior_vena_cava"].tissue == "lower_vein"
    assert of["superior_vena_cava"].tissue == "upper_vein"
    assert of["atrial_appendage_left"].tissue == "left_blood"
    assert of["spinal_cord"].tissue == "cord"


@pytest.mark.parametrize(
    ("name", "tissue"),
    [("Left Kidney", "kidney_medulla"), ("KidneyLeft", "kidney_medulla"), ("Parotid_L", "gland"),
     ("BrainStem", "brain"),
          ("liver_tumour", "mass"), ("Mandible", "skull"), ("psoas", "muscle")],
)  # fmt: skip
def test_other_names_of_known_tissues(name, tissue):
    assert kind_of(name).tissue == tissue


def test_depth_stops_at_another_structure_and_not_at_the_border():
    row = np.zeros((8, 1, 1), np.uint8)
    row[:4], row[4:] = 1, 2
    depth = depth_within(row, (2.0, 2.0, 2.0))[:, 0, 0] * DEPTH_UNIT_MM
    assert depth.tolist() == [7, 5, 3, 1, 1, 3, 5, 7]


def test_balls_around_seeds():
    seeds = np.full((7, 1, 1), 100, np.float32)
    seeds[1], seeds[6] = -4, -1
    assert spread(seeds, (2.0, 2.0, 2.0))[:, 0, 0].tolist() == [-2, -4, -2, 0, 2, 1, -1]


def test_closing_fills_a_bay_and_leaves_the_outside():
    mask = np.zeros((40, 40, 3), bool)
    mask[10:16, 10:30], mask[24:30, 10:30] = True, True  # 16 mm apart
    distance = closed_distance(mask, 12.0, (2.0, 2.0, 2.0))
    assert distance[20, 20, 1] < 0
    assert distance[0, 0, 1] > 20
    assert closed_distance(np.zeros((4, 4, 4), bool), 12.0, (2.0, 2.0, 2.0)).min() > 500


def test_names_that_say_nothing_are_a_generic_tissue():
    labels = LabelSet.from_names(["blob", "liver"])
    values = np.ones((6, 6, 6), np.uint8)
    assert build_anatomy(values, labels, AFFINE).generic == ("blob",)


def test_hollows_of_a_head_are_told_from_the_fluid_around_the_brain():
    anatomy = build_anatomy(head_map(), TOTAL, AFFINE)
    offset = np.rint(-anatomy.affine[:3, 3] / 4).astype(int)  # cropping
    regions = anatomy.regions

    def region(*at):
        return regions[tuple(offset + np.array(at))]

    assert region(22, 48, 38) == Region.HOLLOW
    assert region(22, 37, 42) == region(22, 20, 55) == Region.CSF
    at = np.argwhere(regions == Region.AIR) - offset
    assert at[:, 2].max() <= 26  # up to 12 mm above the middle of C2
    assert 17 < at[:, 1].min() <= at[:, 1].mean() < 23  # in front of the vertebrae, whose front is at 17
    assert anatomy.numbers[tuple((at + offset).T)].max() == 0


def test_free_fluid_may_be_between_organs_of_the_belly_only():
    values = np.zeros((40, 30, 30), np.uint8)
    values[2:14, 4:26], values[26:38, 4:26] = TOTAL["spleen"].id, TOTAL["liver"].id
    values[14:26, 4:8] = TOTAL["small_bowel"].id
    values[14:26, 25:29, 15:] = TOTAL["heart"].id
    regions = build_anatomy(values, TOTAL, AFFINE).regions
    belly = regions == Region.BELLY
    assert belly[18, 15, 5]  # spleen, liver and bowel around it
    assert not build_anatomy(chest_map(), TOTAL, AFFINE).regions.any()


def test_the_radius_of_bones_is_kept_where_they_are_slender_and_where_not():
    values = np.zeros((30, 30, 60), np.uint8)
    values[5:25, 5:25, 30:50] = values[13:17, 13:17, 2:30] = TOTAL["femur_left"].id
    anatomy = build_anatomy(values, TOTAL, np.diag([2.0, 2.0, 2.0, 1]))
    shaft, head = anatomy.place[:, :, 10], anatomy.place[:, :, 40]
    assert shaft.max() * DEPTH_UNIT_MM == pytest.approx(3, abs=0.3)  # 8 mm wide, the middle of a voxel is 3 mm deep
    assert head.max() * DEPTH_UNIT_MM == pytest.approx(19, abs=1.5)


def test_a_map_of_less_than_a_millimetre_is_refused():
    """Bodies are not drawn finer than 1.25 mm, and of such a map nothing would be left."""
    with pytest.raises(
        InputError,
        match=r"expected a label map at least a few millimetres across, got one of 0.9 x 0.9 x 1.8 mm; correct",
    ):
        build_anatomy(np.ones((9, 9, 9), np.uint8), TOTAL, np.diag([0.1, 0.1, 0.2, 1.0]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((9, 9, 1), np.uint8), r"expected a label map of at least two slices, got \(9, 9, 1\)"),
        (np.zeros((9, 9, 9), np.uint8), "expected a label map with at least one structure, got an empty"),
        (np.full((9, 9, 9), 200, np.uint8), "expected a name for every value, got none for 200"),
    ],
)
def test_maps_that_cannot_be_used(values, message):
    with pytest.raises(InputError, match=message):
        build_anatomy(values, TOTAL, AFFINE, "map.nii.gz")

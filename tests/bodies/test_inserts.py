"""Pieces of tubes and wires: where they are, what they count as; devices and spurs along a chest of boxes."""

import numpy as np
import pytest

from tests.bodies.maps import AFFINE, PLAIN, SPACING, block_anatomy, block_map, changed, thorax_map
from tomoseg.bodies import build_anatomy, make_body
from tomoseg.bodies.config import DevicesConfig
from tomoseg.bodies.devices import Devices
from tomoseg.bodies.inserts import UNLABELLED, Capsule, along, inserts, is_near, piece_at
from tomoseg.bodies.looks import draw_look
from tomoseg.bodies.surface import Surface
from tomoseg.labels import LabelSet

LABELS = LabelSet.total()
GRID = (4.0, 4.0, 4.0)


def at(pieces: list[Capsule], point: tuple[float, float, float], number: int = 0) -> tuple[int, float]:
    rows = inserts(pieces, (8, 8, 8), np.array([[1, 0]] * 3, np.float32), np.ones(3, np.float32)).pieces
    return piece_at(rows, tuple(np.float32(v) for v in point), number)


def test_a_tube_has_a_wall_and_a_hollow():
    tube = along(np.array([[0.0, 0, 0], [0, 0, 10]]), 3.0, 2.0, 400.0, -1000.0)
    assert at(tube, (1, 0, 5)) == (0, -1000)
    assert at(tube, (0, 2.5, 5)) == (0, 400)
    assert at(tube, (0, 3.1, 5))[0] == -1
    assert at(tube, (0, 0, 12.5)) == (0, 400)  # its round end
    assert at(tube, (0, 0, 13.5))[0] == -1


def test_pieces_that_meet_have_one_hollow():
    bent = along(np.array([[0.0, 0, 0], [0, 0, 10], [0, 10, 10]]), 3.0, 2.0, 400.0, -1000.0)
    line = [(0, 0, z) for z in range(1, 10)] + [(0, y, 10) for y in range(10)]
    assert {at(bent, point)[1] for point in line} == {-1000}


def test_some_are_only_where_no_structure_is():
    spur = [Capsule((0, 0, 0), (0, 0, 5), 2.0, 0.0, 500.0, 500.0, UNLABELLED, 7)]
    assert at(spur, (0, 0, 1), 0) == (0, 500)
    assert at(spur, (0, 0, 1), 4)[0] == -1


def test_every_point_within_a_piece_is_in_a_cell_that_is_marked():
    rng = np.random.default_rng(1)
    coarse = np.array([[0.5, 10], [0.5, 12], [0.5, 0]], np.float32)
    spacing = np.array([1.5, 1.5, 1.5], np.float32)
    pieces = along(rng.uniform(0, 100, (6, 3)), 4.0, 0.0, 300.0)
    found = inserts(pieces, (60, 60, 40), coarse, spacing)
    points = rng.uniform(-5, 105, (4000, 3)).astype(np.float32)
    within = [point for point in points if piece_at(found.pieces, tuple(point), 0)[0] >= 0]
    assert len(within) > 30
    assert all(is_near(found.near, coarse, tuple(point / spacing)) for point in within)
    assert found.near.mean() < 0.5


def pieces_of(name: str, values: np.ndarray | None = None) -> list[Capsule]:
    """What a chest of boxes gets of one device."""
    anatomy = build_anatomy(thorax_map() if values is None else values, LABELS, AFFINE)
    look = draw_look(anatomy, PLAIN, "native", np.random.default_rng(0))
    config = DevicesConfig(port_share=1)
    devices = Devices(anatomy, set(anatomy.boxes), Surface(anatomy, look), config, 3000.0, np.random.default_rng(3))
    return getattr(devices, name)()


def inside(pieces: list[Capsule], *names: str) -> float:
    """The share of the ends of pieces that lie in structures."""
    anatomy = build_anatomy(thorax_map(), LABELS, AFFINE)
    index = np.rint(np.array([piece.start for piece in pieces]) / SPACING).astype(int)
    there = [anatomy.numbers[tuple(np.clip(i, 0, np.array(anatomy.numbers.shape) - 1))] for i in index]
    return float(np.mean(np.isin(there, anatomy.named(*names))))


@pytest.mark.parametrize(
    ("name", "structures", "share"),
    [
        ("airway_tube", ("trachea",), 0.9),
        ("gastric_tube", ("esophagus", "stomach"), 0.9),
        ("catheter", ("superior_vena_cava", "brachiocephalic_vein_right", "brachiocephalic_vein_left"), 0.5),
        ("pacemaker", ("superior_vena_cava", "brachiocephalic_vein_left", "heart"), 0.4),
        ("chest_drain", ("lung_upper_lobe_left", "lung_upper_lobe_right"), 0.5),
    ],
)
def test_devices_run_in_their_structures(name, structures, share):
    pieces = pieces_of(name)
    assert len(pieces) > 2
    assert inside(pieces, *structures) >= share


@pytest.mark.parametrize("bronchi_mm", [0, 12])
def test_a_tube_ends_above_the_division_of_the_windpipe(bronchi_mm):
    values = thorax_map()
    values[18:42, 18:22, 34 : 34 + bronchi_mm // 4] = LABELS["trachea"].id
    lowest = min(min(piece.start[2], piece.end[2]) for piece in pieces_of("airway_tube", values))
    anatomy = build_anatomy(values, LABELS, AFFINE)
    bottom = anatomy.boxes[LABELS.channel("trachea") + 1][2].start * SPACING[2]
    assert 8 + bronchi_mm - 4 <= lowest - bottom <= 75 + bronchi_mm


def test_wires_lie_around_the_breastbone_and_electrodes_on_the_skin():
    wires = pieces_of("sternum_wires")
    heights = {round(piece.start[2], 3) for piece in wires}
    assert 5 <= len(heights) <= 7
    assert len(wires) == 12 * len(heights)
    assert len(pieces_of("electrodes")) >= 3 * 4


@pytest.mark.parametrize("name", [n.removesuffix("_share") for n in DevicesConfig.model_fields if n.endswith("_share")])
def test_bodies_without_the_structures_have_no_devices(name):
    if name == "port":
        return
    anatomy = block_anatomy()
    config = changed(devices={f"{name}_share": 1})
    look = draw_look(anatomy, config, "native", np.random.default_rng(0))
    one = Devices(anatomy, set(anatomy.boxes), Surface(anatomy, look), config.devices, 3000.0, np.random.default_rng(0))
    assert bool(one.draw()) == (name == "drain")  # beside the liver


def test_metal_shows_and_the_structure_keeps_its_voxels():
    anatomy = build_anatomy(thorax_map(), LABELS, AFFINE)
    without, with_wires = (
        make_body(anatomy, 5, changed(devices={"sternum_wires_share": share}), GRID) for share in (0, 1)
    )
    assert np.array_equal(without.numbers, with_wires.numbers)
    more = with_wires.volume.hu.astype(int) - without.volume.hu
    assert more.max() > 100
    x, y, _ = np.argwhere(more > 100).T
    sternum = np.argwhere(without.numbers == LABELS.channel("sternum") + 1)
    assert abs(x.mean() - sternum[:, 0].mean()) < 3
    assert abs(y.mean() - sternum[:, 1].mean()) < 3


def test_spurs_count_as_their_vertebra_and_take_nothing_from_others():
    values = block_map()
    values[24:34, 10:22, :8] = values[24:34, 10:22, 22:] = 0
    values[18:24] = values[34:40] = 0
    spine = build_anatomy(values, LABELS, AFFINE)
    disease = {"spurs_share": 1, "spur_mm": (9, 9)}
    without, spurred = (make_body(spine, 2, changed(disease=part), (2.5, 2.5, 2.5)) for part in ({}, disease))
    vertebra = LABELS.channel("vertebrae_L1") + 1
    grown = (spurred.numbers == vertebra) & (without.numbers != vertebra)
    assert grown.sum() > 0
    assert set(np.unique(without.numbers[grown])) == {0}
    others = without.numbers[~grown]
    assert np.array_equal(spurred.numbers[~grown], others)


def test_a_sliver_of_a_vertebra_gets_no_spurs():
    values = block_map()
    vertebra = LABELS.names.index("vertebrae_L3") + 1
    values[values == vertebra] = 0
    values[10:13, 12, 8:11] = vertebra  # one row of voxels from front to back
    body = make_body(build_anatomy(values, LABELS, AFFINE), 2, changed(disease={"spurs_share": 1}), (4.0, 4.0, 4.0))
    assert (body.numbers == vertebra).any()

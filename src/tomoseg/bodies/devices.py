"""Tubes, catheters, drains, wires and electrodes: along the structures that they run in."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.config import BodyConfig, DevicesConfig
from tomoseg.bodies.hu import PHASES, Phase
from tomoseg.bodies.inserts import ON_SKIN, Capsule, along, inserts
from tomoseg.bodies.kinds import Fill, with_fill
from tomoseg.bodies.placement import Placement
from tomoseg.bodies.regions import Region
from tomoseg.bodies.render import Appearance
from tomoseg.bodies.slots import OF_SHOWN
from tomoseg.bodies.spurs import draw_spurs
from tomoseg.bodies.surface import Surface
from tomoseg.bodies.teeth import draw_teeth

Points = Float[np.ndarray, "n 3"]
_AIR_HU = -1000.0
_PIECE_MM = 9.0
_WIRE_MM = 0.7
_GENERATOR_MM, _GENERATOR_THICK_MM = 18.0, 4.0
"""Half the width and half the thickness of a pacemaker's generator, without its rim."""
_BRONCHI_MM = 18.0
"""Parts of the windpipe this far from its middle are a bronchus."""
_THROAT_MM = (25.0, 90.0)
"""Reach of the airway above the windpipe: to the sides, front and back, and upwards."""


class Devices:
    """Tubes, catheters, wires and electrodes of one body.

    Args:
        anatomy: The body.
        shown: Numbers of the structures that it has.
        surface: Surface of its skin.
        config: Shares of bodies and ranges.
        metal_hu: HU of metal.
        rng: Source of every random choice.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        shown: set[int],
        surface: Surface,
        config: DevicesConfig,
        metal_hu: float,
        rng: np.random.Generator,
    ) -> None:
        self._anatomy = anatomy
        self._shown = shown
        self._surface = surface
        self._config = config
        self._metal = metal_hu
        self._rng = rng

    def draw(self) -> list[Capsule]:
        """Draw the pieces that this body has."""
        config = self._config
        found: list[Capsule] = []
        for share, make in (
            (config.airway_tube_share, self.airway_tube),
            (config.gastric_tube_share, self.gastric_tube),
            (config.catheter_share, self.catheter),
            (config.pacemaker_share, self.pacemaker),
            (config.chest_drain_share, self.chest_drain),
            (config.drain_share, self.drain),
            (config.aortic_stent_share, self.aortic_stent),
            (config.ureter_stent_share, self.ureter_stent),
            (config.bladder_catheter_share, self.bladder_catheter),
            (config.sternum_wires_share, self.sternum_wires),
            (config.clips_share, self.clips),
            (config.electrodes_share, self.electrodes),
        ):
            drawn = self._rng.random()
            if drawn < share:
                found += make()
        return found

    def airway_tube(self) -> list[Capsule]:
        """A tube from the throat, or the top of the map, to some way above the carina."""
        line = self._middles("trachea")
        if len(line) < 2:
            return []
        spacing = self._anatomy.spacing_mm
        found = self._where(self._anatomy.named("trachea"))
        middle = np.interp(found[:, 2], line[:, 2], line[:, 0])
        bronchi = found[np.abs(found[:, 0] - middle) > _BRONCHI_MM, 2]  # maps count the main ones as windpipe
        end = (bronchi.max() if len(bronchi) else line[0, 2]) + self._rng.uniform(*self._config.tube_end_mm)
        throat = np.argwhere(self._anatomy.regions == Region.AIR) * spacing
        over = throat - line[-1]
        near = (np.abs(over[:, :2]) < _THROAT_MM[0]).all(1)  # not nose and sinuses
        above = throat[near & (over[:, 2] > 3) & (over[:, 2] < _THROAT_MM[1])]
        if len(above):
            line = np.concatenate([line, _by_height(above, spacing[2])])
        line = line[line[:, 2] > end]
        if len(line) < 2:
            return []
        radius = self._rng.uniform(*self._config.airway_tube_mm)
        return self._tube(line, radius, radius - self._rng.uniform(1.1, 1.6), _AIR_HU)

    def gastric_tube(self) -> list[Capsule]:
        """Down the oesophagus into the stomach."""
        line = self._middles("esophagus")
        if len(line) < 2:
            return []
        stomach = self._anatomy.named("stomach")
        if stomach:
            line = np.concatenate([self._mm(self._anatomy.centre_mm(stomach[0]))[None], line])
        radius = self._rng.uniform(*self._config.gastric_tube_mm)
        return self._tube(line, radius, 0.55 * radius, self._rng.choice([_AIR_HU, 10.0]))

    def catheter(self) -> list[Capsule]:
        """A central venous catheter from the neck or shoulder to the heart, with a port or out through the skin."""
        side = self._rng.choice(["right", "right", "left"])
        line = self._upper_veins(side)
        if len(line) < 2:
            return []
        radius = self._rng.uniform(*self._config.catheter_mm)
        if self._rng.random() >= self._config.port_share:
            return self._tube(line, radius, 0.5 * radius, 0.0)
        port = self._under_skin(side)
        if port is None:
            return []
        size = self._rng.uniform(*self._config.port_mm)
        hu = self._rng.choice([self._metal, 500.0])
        across = np.array([[-0.3 * size, 0, 0], [0.3 * size, 0, 0]])
        return [
            *self._tube(np.concatenate([line, port[None]]), radius, 0.5 * radius, 0.0),
            *along(port + across, 0.5 * size, 0.25 * size, hu, 20.0),
        ]

    def pacemaker(self) -> list[Capsule]:
        """A generator under the skin of the left chest, and leads in the right heart."""
        line, heart, place = self._upper_veins("left"), self._anatomy.named("heart"), self._under_skin("left")
        if len(line) < 2 or not heart or place is None:
            return []
        low, high = (
            np.array([getattr(side, end) for side in self._anatomy.boxes[heart[0]]]) for end in ("start", "stop")
        )
        radius = self._rng.uniform(*self._config.lead_mm)
        found: list[Capsule] = []
        for z in np.arange(-_GENERATOR_MM, _GENERATOR_MM + 1, _GENERATOR_MM / 4):
            half = np.sqrt(_GENERATOR_MM**2 - 0.8 * z**2)  # round, and flat above and below
            found += along(place + np.array([[-half, 0, z], [half, 0, z]]), _GENERATOR_THICK_MM, 0.0, self._metal)
        for share in ((0.45, 0.75, 0.2), (0.75, 0.7, 0.55))[: int(self._rng.integers(1, 3))]:
            tip = (low + np.array(share) * (high - low)) * self._anatomy.spacing_mm
            found += self._tube(np.concatenate([tip[None], line, place[None]]), radius, 0.0, 0.0, self._metal)
        return found

    def chest_drain(self) -> list[Capsule]:
        """A drain from the side of the chest up beside the lung."""
        side = self._rng.choice(["left", "right"])
        lung = [n for n in with_fill(self._anatomy.kinds, Fill.LUNG) if side in self._anatomy.labels.names[n - 1]]
        found = self._where([n for n in lung if n in self._shown])
        if not len(found):
            return []
        low, high = found[:, 2].min(), found[:, 2].max()
        bottom = low + self._rng.uniform(0.3, 0.5) * (high - low)
        out = 1.0 if side == "right" else -1.0
        angle = np.deg2rad(self._rng.uniform(-60, 60))
        towards = np.array([out * np.cos(angle), np.sin(angle)])
        line = []
        for z in np.arange(bottom, high - 0.1 * (high - low), 12.0):
            there = found[np.abs(found[:, 2] - z) < 2]
            if len(there):
                line.append(there[np.argmax(there[:, :2] @ towards)])
        if len(line) < 2:
            return []
        outside = line[0] + np.array([*(60 * towards), -25.0])
        radius = self._rng.uniform(*self._config.chest_drain_mm)
        return self._tube(np.array([outside, *line]), radius, 0.65 * radius, _AIR_HU)

    def drain(self) -> list[Capsule]:
        """A drain from the flank to beside an organ of the belly."""
        organs = [
            n for n in self._anatomy.named("liver", "spleen", "pancreas", "colon", "kidney_right") if n in self._shown
        ]
        if not organs:
            return []
        end = self._mm(self._anatomy.centre_mm(int(self._rng.choice(organs))))
        out = self._rng.choice([-1.0, 1.0])
        reach = self._anatomy.numbers.shape[0] * self._anatomy.spacing_mm[0]
        start = np.array([reach + 40 if out > 0 else -40.0, end[1] + self._rng.uniform(0, 50), end[2] - 30])
        radius = self._rng.uniform(*self._config.drain_mm)
        return self._tube(np.stack([end, start]), radius, 0.6 * radius, 10.0)

    def aortic_stent(self) -> list[Capsule]:
        """A mesh of wire in the aorta below its arch."""
        line = self._middles("aorta")
        if len(line) < 20:
            return []
        found = self._where(self._anatomy.named("aorta"))
        depth = np.array([np.ptp(found[np.abs(found[:, 2] - z) < 1][:, 1]) for z in line[:, 2]])
        straight = line[depth < 1.6 * np.median(depth)]
        straight = straight[straight[:, 2] < straight[0, 2] + 200]
        radius = 0.5 * np.median(depth)
        length = min(self._rng.uniform(70, 150), np.ptp(straight[:, 2]))
        start = straight[0, 2] + self._rng.uniform(0, np.ptp(straight[:, 2]) - length)
        z = np.arange(start, start + length, 1.5)
        turn = 2 * np.pi * np.arange(len(z)) / 8
        zigzag = z + 4 * (np.arange(len(z)) % 2)
        x, y = (np.interp(z, straight[:, 2], straight[:, axis]) for axis in (0, 1))
        ring = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn), zigzag], 1)
        return along(ring, _WIRE_MM, 0.0, self._metal)

    def ureter_stent(self) -> list[Capsule]:
        """A stent from the sinus of a kidney over the psoas into the bladder."""
        side = self._rng.choice(["left", "right"])
        ends = self._anatomy.named(f"kidney_{side}", "urinary_bladder")
        if len(ends) < 2 or not self._shown.issuperset(ends):
            return []
        top, bottom = (self._mm(self._anatomy.centre_mm(n)) for n in ends)
        inwards = -1.0 if side == "right" else 1.0
        top = top + np.array([inwards * 14, 6.0, -5])
        psoas = self._middles(f"iliopsoas_{side}")
        psoas = psoas[(psoas[:, 2] > bottom[2] + 40) & (psoas[:, 2] < top[2] - 30)] + np.array([inwards * 8, 20.0, 0])
        radius = self._rng.uniform(*self._config.ureter_stent_mm)
        return self._tube(np.concatenate([bottom[None], psoas, top[None]]), radius, 0.0, 0.0)

    def bladder_catheter(self) -> list[Capsule]:
        """A balloon in the bladder and the tube below it."""
        bladder = self._anatomy.named("urinary_bladder")
        if not bladder or bladder[0] not in self._shown:
            return []
        middle = self._mm(self._anatomy.centre_mm(bladder[0]))
        low = self._anatomy.boxes[bladder[0]][2].start * self._anatomy.spacing_mm[2]
        place = np.array([middle[0], middle[1], min(middle[2], low + 16)])
        radius = self._rng.uniform(9, 13)
        balloon = Capsule(_point(place), _point(place), radius, radius - 1, 100.0, self._rng.choice([5.0, _AIR_HU]))
        tube = self._tube(np.stack([place, place - [0, 10, 70]]), 2.6, 1.3, 0.0)
        return [balloon, *tube]

    def sternum_wires(self) -> list[Capsule]:
        """Wires around the breastbone after an operation of the heart."""
        sternum = self._anatomy.named("sternum")
        found = self._where(sternum)
        if not len(found) or np.ptp(found[:, 2]) < 60:
            return []
        pieces: list[Capsule] = []
        angle = np.linspace(0, 2 * np.pi, 13)
        for z in np.linspace(found[:, 2].min() + 15, found[:, 2].max() - 10, int(self._rng.integers(5, 8))):
            there = found[np.abs(found[:, 2] - z) < 2]
            if len(there):
                low, high = there.min(0), there.max(0)
                middle, half = (low + high) / 2, np.minimum((high - low) / 2, 14) + 1
                x, y = middle[0] + half[0] * np.cos(angle), middle[1] + half[1] * np.sin(angle)
                pieces += along(np.stack([x, y, np.full(13, z)], 1), _WIRE_MM, 0.0, self._metal)
        return pieces

    def clips(self) -> list[Capsule]:
        """Clips where a gallbladder was."""
        place = [n for n in self._anatomy.named("gallbladder") if n not in self._shown]
        if not place:
            return []
        middle = self._mm(self._anatomy.centre_mm(place[0]))
        starts = middle + self._rng.normal(0, 6, (int(self._rng.integers(2, 6)), 3))
        return [p for a in starts for p in along(np.stack([a, a + self._rng.normal(0, 3, 3)]), 0.8, 0.0, self._metal)]

    def electrodes(self) -> list[Capsule]:
        """Electrodes and their wires on the skin of the chest."""
        chest = self._where([n for n in with_fill(self._anatomy.kinds, Fill.LUNG) if n in self._shown])
        if not len(chest):
            return []
        low, high = chest.min(0), chest.max(0)
        y = (low + high)[1] / 2
        pieces: list[Capsule] = []
        foot = np.array([self._rng.uniform(low[0], high[0]), y, low[2] - 60])
        for across, up in ((0.15, 0.9), (0.85, 0.9), (0.1, 0.2), (0.9, 0.2), (0.4, 0.4))[
            : int(self._rng.integers(3, 6))
        ]:
            at = low + np.array([across, 0, up]) * (high - low) + self._rng.normal(0, 12, 3)
            at[1] = y
            pieces.append(Capsule(_point(at), _point(at), 0.6, self._rng.uniform(5, 9), 150.0, 0.0, ON_SKIN))
            pieces.append(Capsule(_point(at), _point(at), 1.5, 2.5, self._metal, 0.0, ON_SKIN))
            sway = (at + foot) / 2 + np.array([self._rng.normal(0, 25), 0, 0])
            pieces += along(np.stack([at, sway, foot]), 0.8, 1.2, 900.0, 0.0, ON_SKIN)
        return pieces

    def _tube(
        self, line: Points, radius: float, hollow: float, inside_hu: float, hu: float | None = None
    ) -> list[Capsule]:
        """A tube along a line that is first made smooth."""
        wall = self._rng.uniform(*self._config.plastic_hu) if hu is None else hu
        return along(_smooth(line), radius, hollow, wall, inside_hu)

    def _where(self, numbers: list[int]) -> Points:
        """The voxels of structures, in mm of the map's own axes."""
        boxes = self._anatomy.boxes
        found = [
            np.argwhere(self._anatomy.numbers[boxes[n]] == n) + [side.start for side in boxes[n]]
            for n in numbers
            if n in boxes
        ]
        return (np.concatenate(found) if found else np.zeros((0, 3))) * np.array(self._anatomy.spacing_mm)

    def _middles(self, name: str) -> Points:
        """The middle of a structure in each of its slices, from below."""
        return _by_height(
            self._where([n for n in self._anatomy.named(name) if n in self._shown]), self._anatomy.spacing_mm[2]
        )

    def _upper_veins(self, side: str) -> Points:
        """Points from the heart up into the vein of a side."""
        line = self._middles("superior_vena_cava")
        vein = self._middles(f"brachiocephalic_vein_{side}")
        if len(line) and len(vein):
            outwards = vein[np.argsort(vein[:, 0] if side == "right" else -vein[:, 0])]
            line = np.concatenate([line[line[:, 2] < vein[:, 2].min()], outwards])
        return line

    def _under_skin(self, side: str) -> Float[np.ndarray, "3"] | None:
        """A place in the fat of the upper chest."""
        sternum = self._anatomy.named("sternum")
        if not sternum:
            return None
        middle = self._mm(self._anatomy.centre_mm(sternum[0]))
        top = self._anatomy.boxes[sternum[0]][2].stop * self._anatomy.spacing_mm[2]
        x = middle[0] + (1 if side == "right" else -1) * self._rng.uniform(60, 85)
        return self._surface.in_front(x, top - self._rng.uniform(15, 45), 0.4)

    def _mm(self, point: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
        """Convert a point from the map's mm to mm along its array axes."""
        affine = self._anatomy.affine
        return np.linalg.solve(affine[:3, :3], point - affine[:3, 3]) * self._anatomy.spacing_mm


def _point(at: Float[np.ndarray, "3"]) -> tuple[float, float, float]:
    return float(at[0]), float(at[1]), float(at[2])


def _by_height(found: Points, step_mm: float) -> Float[np.ndarray, "m 3"]:
    """The mean of points of each height, from below."""
    if not len(found):
        return np.zeros((0, 3))
    row = np.rint(found[:, 2] / step_mm).astype(int)
    row -= row.min()
    counts = np.bincount(row)
    means = np.stack([np.bincount(row, found[:, axis]) / np.maximum(counts, 1) for axis in range(3)], 1)
    return means[counts > 0]


def _smooth(line: Points) -> Float[np.ndarray, "m 3"]:
    """Points at even distances along a line, without its small turns."""
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    at = np.linspace(0, length[-1], int(length[-1] / _PIECE_MM) + 2)
    even = np.stack([np.interp(at, length, line[:, axis]) for axis in range(3)], 1)
    if len(even) > 2:
        even[1:-1] = (even[:-2] + 2 * even[1:-1] + even[2:]) / 4
    return even


def with_inserts(
    anatomy: Anatomy, placement: Placement, look: Appearance, config: BodyConfig, phase: Phase, rng: np.random.Generator
) -> Appearance:
    """Return the look with tubes, wires, spurs and teeth added."""
    shown = {n for n in anatomy.boxes if look.structures[n, OF_SHOWN] > 0}
    metal = rng.uniform(*config.hu.metal[PHASES.index(phase)])
    devices = Devices(anatomy, shown, Surface(anatomy, look), config.devices, metal, rng)
    pieces = [*devices.draw(), *draw_spurs(anatomy, shown, config.disease, rng)]
    pieces += draw_teeth(anatomy, shown, config.teeth, metal, rng)
    if not pieces:
        return look
    found = inserts(pieces, anatomy.outer.shape, placement.way.coarse, placement.way.spacing)
    return look._replace(inserts=found)

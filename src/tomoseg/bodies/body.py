"""CT scans with masks of bodies drawn from an anatomy and a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt16

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.arms import with_arms
from tomoseg.bodies.config import BodyConfig, FieldOfViewConfig
from tomoseg.bodies.devices import with_inserts
from tomoseg.bodies.field_of_view import Axes, FieldOfView, draw_field_of_view
from tomoseg.bodies.hu import Phase
from tomoseg.bodies.looks import draw_look, draw_phase, lying_so
from tomoseg.bodies.lying import Down, PatientPosition, draw_lying
from tomoseg.bodies.placement import Placement, place
from tomoseg.bodies.render import Appearance, Map, render
from tomoseg.bodies.scanner import Scan, acquire
from tomoseg.bodies.slots import SIDE_DOWN
from tomoseg.errors import InputError
from tomoseg.labels import LabelSet, label_type
from tomoseg.masks import packed_bytes
from tomoseg.phantom.body import generator
from tomoseg.volume import Volume

FINEST_MM = 0.3
MOST_VOXELS = 400_000_000
VIEWS_TRIED = 8


@dataclass(frozen=True)
class MadeBody:
    """A scan of a synthetic body.

    Attributes:
        volume: The scan.
        numbers: `(x, y, z)`, channel + 1 of the structure in each voxel, or 0.
        labels: The structures; all are annotated, and those out of view or lacking are absent.
        phase: The phase of the contrast medium.
    """

    volume: Volume
    numbers: UInt8[np.ndarray, "x y z"]
    labels: LabelSet
    phase: Phase

    @property
    def ids(self) -> UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]:
        """Label map `(x, y, z)`: the id of the structure in each voxel, or 0."""
        table = np.array([0, *self.labels.ids], label_type(self.labels.ids))
        return table[self.numbers]

    @property
    def packed(self) -> UInt8[np.ndarray, "b x y z"]:
        """Bit-packed masks `(b, x, y, z)`, in the channel order of `labels`."""
        channels = np.arange(len(self.labels))
        bits = np.zeros((packed_bytes(len(self.labels)), len(self.labels) + 1), np.uint8)
        bits[channels // 8, channels + 1] = 1 << (channels % 8)
        return np.stack([plane[self.numbers] for plane in bits])


def make_body(
    anatomy: Anatomy,
    seed: int,
    config: BodyConfig | None = None,
    spacing_mm: tuple[float, float, float] | None = None,
) -> MadeBody:
    """Make a body of an anatomy and scan it.

    Shape, flesh, contrast, illness, field of view, scanner and noise follow from the seed; the same anatomy, seed,
    settings and voxels give the same bytes.

    Args:
        anatomy: From `read_anatomy`, `procedural_anatomy` or `build_anatomy`.
        seed: 0 or more.
        config: Ranges to draw from; the defaults if omitted.
        spacing_mm: Voxel spacing of the scan along x, y and z; the drawn scanner's own if omitted.

    Returns:
        The scan and its structures.

    Raises:
        InputError: If the seed is negative, the voxels are too small or too many, or no field of view tried holds
            a structure.

    Example:
        >>> from tomoseg.bodies.anatomy import build_anatomy
        >>> values = np.zeros((40, 40, 20), np.uint8); values[10:30, 10:30, :] = 5
        >>> anatomy = build_anatomy(values, LabelSet.total(), np.diag([3.0, 3.0, 5.0, 1.0]))
        >>> body = make_body(anatomy, seed=1, spacing_mm=(6, 6, 10))
        >>> body.labels.names[body.numbers.max() - 1], body.volume.hu.shape == body.numbers.shape
        ('liver', True)
    """
    config = config or BodyConfig()
    check_request(seed, spacing_mm)
    scan = Scan.draw(config.scanner, generator(seed, "scanner"))
    spacing = spacing_mm or (scan.pixel_mm, scan.pixel_mm, scan.slice_mm)
    check_request(seed, spacing)
    rest = generator(seed, "lying")
    lying = draw_lying(config.view, rest)
    placement = place(anatomy, config.shape, generator(seed, "shape"), lying.turn_deg)
    phase = draw_phase(config, generator(seed, "phase"))
    look = draw_look(anatomy, config, phase, generator(seed, "look"))
    look = lying_so(look, anatomy, placement, lying)
    look = with_arms(anatomy, placement, lying, look, config.view, generator(seed, "arms"))
    look = with_inserts(anatomy, placement, look, config, phase, generator(seed, "inserts"))
    view, axes, (hu, numbers, body) = _drawn(anatomy, placement, look, config, spacing, generator(seed, "view"))
    if rest.random() < config.view.table_share:
        _add_table(hu, body, axes, config.view, lying, rest)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    measured = acquire(hu, body, spacing, scan, generator(seed, "noise"))
    if view.round:
        measured[~_within_circle(measured.shape)] = measured.min()
    volume = Volume.from_array(measured, affine)
    return MadeBody(volume, numbers, anatomy.labels, phase)


def check_request(seed: int, spacing_mm: tuple[float, float, float] | None) -> None:
    """Check the seed and the voxel spacing of a body.

    Raises:
        InputError: If the seed is negative, or the voxels are too small.
    """
    if seed < 0:
        raise InputError(f"expected a seed of 0 or more, got {seed}; choose another")
    if spacing_mm and min(spacing_mm) < FINEST_MM:
        raise InputError(f"expected voxels of {FINEST_MM} mm or more, got {spacing_mm}; choose larger ones")


def _drawn(
    anatomy: Anatomy,
    placement: Placement,
    look: Appearance,
    config: BodyConfig,
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
) -> tuple[
    FieldOfView, Axes, tuple[Float32[np.ndarray, "x y z"], UInt8[np.ndarray, "x y z"], Bool[np.ndarray, "x y z"]]
]:
    """The body in the first field of view that holds a structure.

    Raises:
        InputError: If none does, or a field of view has too many voxels.
    """
    chart = Map(*(getattr(anatomy, name) for name in Map._fields))
    if look.body[SIDE_DOWN] in (Down.LEFT, Down.RIGHT):
        chart = chart._replace(place=np.where(anatomy.aside > 0, anatomy.aside, anatomy.place))
    x, y, z = (int(np.clip(np.ceil(s / config.scanner.samples_mm), 1, 4)) for s in spacing)
    for _ in range(VIEWS_TRIED):
        view = draw_field_of_view(anatomy, placement, look, config.view, rng)
        axes = _axes(view, spacing, anatomy.name)
        drawn = render(chart, placement.way, look, axes, (x, y, z))
        if view.round:
            drawn[1][~_within_circle(drawn[1].shape)] = 0
        if drawn[1].any():
            return view, axes, drawn
    raise InputError(
        f"{anatomy.name}: expected a structure in at least one of {VIEWS_TRIED} fields of view, got none; "
        "raise view.height_mm or view.narrow_mm"
    )


def _within_circle(shape: tuple[int, ...]) -> Bool[np.ndarray, "x y"]:
    """The circle inscribed in a slice."""
    x, y = (np.linspace(-1, 1, n) ** 2 for n in shape[:2])
    return np.asarray(x[:, None] + y <= 1)


def _axes(view: FieldOfView, spacing: tuple[float, float, float], name: str) -> Axes:
    axes = view.axes(spacing)
    if np.prod([len(axis) for axis in axes]) > MOST_VOXELS:
        raise InputError(
            f"{name}: expected at most {MOST_VOXELS} voxels, got {[len(axis) for axis in axes]}; "
            "choose larger voxels, or a smaller view.height_mm"
        )
    return axes


def _add_table(
    hu: Float32[np.ndarray, "x y z"],
    body: Bool[np.ndarray, "x y z"],
    axes: Axes,
    config: FieldOfViewConfig,
    lying: PatientPosition,
    rng: np.random.Generator,
) -> None:
    """A hollowed shell filled with foam on the side of the body that is down, and a thin mattress."""
    side = round(sum(lying.down))
    if lying.down[0] != 0:  # at the left or right: seen with the axes exchanged
        hu, body, axes = hu.transpose(1, 0, 2), body.transpose(1, 0, 2), (axes[1], axes[0], axes[2])
    sag, depth = rng.uniform(0.0001, 0.0009), rng.uniform(*config.table_mm)
    shell, half_width = rng.uniform(1.5, 4), rng.uniform(190, 240)
    grey, foam, gap = (rng.uniform(*ends) for ends in (config.table_hu, config.foam_hu, config.table_gap_mm))
    x, height = axes[0] - rng.uniform(-25, 25), -side * axes[1]
    beside = np.abs(x) >= half_width
    hollow = sag * x**2
    lowest = np.where(body.any(2) & ~beside[:, None], height, np.inf).min(1)  # of the body above each place
    touching = (lowest - hollow).min()
    if not np.isfinite(touching):
        return
    under = (touching - gap + hollow)[:, None] - height
    within = ~beside[:, None] & (under > 0) & (under < depth)
    hard = within & ((under < shell) | (under > depth - shell) | (np.abs(x)[:, None] > half_width - 2 * shell))
    plate = np.where(hard, grey, foam).astype(np.float32)[:, :, None]
    free = within[:, :, None] & ~body & (hu < -900)
    np.copyto(hu, np.broadcast_to(plate, hu.shape), where=free)

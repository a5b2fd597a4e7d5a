"""Make the figures of the pages in docs/concepts and docs/how-to, from the code and from phantoms.

.venv/bin/python docs/figures.py [NAME ...], the names at the end of this file; all if omitted.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.files.dicom.series import image, save  # noqa: E402
from tests.imports import imported, modules_in  # noqa: E402
from tests.test_architecture import LEVEL, ROOMS  # noqa: E402
from tomoseg.config import GridConfig, TrainConfig  # noqa: E402
from tomoseg.files.scan import read_scan  # noqa: E402
from tomoseg.grid import Placement, place_grid, to_grid  # noqa: E402
from tomoseg.inference.decide import decide_labels, scan_slices  # noqa: E402
from tomoseg.inference.segment import segment  # noqa: E402
from tomoseg.labels import LabelSet  # noqa: E402
from tomoseg.masks import mask_in  # noqa: E402
from tomoseg.options import Request  # noqa: E402
from tomoseg.phantom.scan import make_phantom  # noqa: E402
from tomoseg.pictures.canvas import palette, take_plane, window_to_grey  # noqa: E402
from tomoseg.volume import Volume  # noqa: E402

PICTURES = PROJECT / "docs" / "pictures"
WINDOW_HU = (-200.0, 300.0)
INK, PALE, BLUE, ORANGE, GREEN = "#222222", "#d8dde3", "#2f6db5", "#d9822b", "#3c8d5a"
DPI = 110


def main() -> None:
    """The figures that are named, or all."""
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 10, "text.color": INK, "figure.facecolor": "white"})
    for name in sys.argv[1:] or FIGURES:
        figure = FIGURES[name]()
        figure.savefig(PICTURES / f"{name}.png", dpi=DPI, bbox_inches="tight", pad_inches=0.1)
        plt.close(figure)


def house() -> Figure:
    """Every room of the code, and which imports which: dots below the diagonal would be a breach."""
    modules = modules_in(PROJECT / "src", "tomoseg")
    names = ["words", *(room[0] for room in ROOMS[1:])]
    lines, asks = np.zeros(len(ROOMS), int), np.zeros((len(ROOMS), len(ROOMS)), bool)
    for module, path in modules.items():
        level = LEVEL[_room(module)]
        lines[level] += len(path.read_text(encoding="utf-8").splitlines())
        targets = [LEVEL[_room(one)] for one in imported(module, path, set(modules)) if one.startswith("tomoseg.")]
        asks[level, targets] = True
    np.fill_diagonal(asks, val=False)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 6.2), width_ratios=(1.25, 1), layout="constrained")
    places = np.arange(len(names))
    left.barh(places, lines, color=PALE)
    for place, name in enumerate(names):
        left.text(120, place, f"{name}", va="center", weight="bold")
        left.text(2600, place, _purpose(name), va="center", size=8)
    left.set(xlim=(0, 12500), yticks=[], title="Rooms, from the words that all use down to the commands")
    left.set_xlabel("bars: lines of code")
    users, used = np.nonzero(asks)
    right.scatter(used, users, s=26, color=BLUE)
    right.plot([-0.5, len(names) - 0.5], [-0.5, len(names) - 0.5], color=ORANGE, lw=1)
    right.set_xticks(places, names, rotation=90)
    right.set_yticks(places, names)
    right.set(title="A dot: the room at the left imports the one below", xlim=(-0.6, len(names) - 0.4))
    right.text(len(names) * 0.62, 3.5, "nothing here:\nnobody imports\nfrom below", color=ORANGE)
    for axes in (left, right):
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _purpose(room: str) -> str:
    """What CONTRIBUTING says of it, or as much of that as there is room for."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| `{room}` \| (.*?) \|$", text, re.M)
    said, *others = re.split(r"(?<=[,:;]) ", found[1] if found else "axes, labels, settings, errors")
    for part in others:
        if len(said) + len(part) > 62:
            break
        said += f" {part}"
    return said.rstrip(",:;")


def way_of_a_scan() -> Figure:
    """What a scan becomes on its way to masks, by the packaged model of the whole body."""
    volume, _ = _phantom()
    request = Request(roi_subset=("liver", "spleen", "kidney_left", "kidney_right", "aorta"), confidence=True)
    found = segment(volume, "body-117", request)
    liver = found.mask("liver")
    k = int(np.argmax(liver.sum((0, 1))))
    placement = place_grid(volume.hu, volume.spacing_mm, GridConfig(spacing_mm=4.0, slice_spacing_mm=4.0, crop="body"))
    on_grid = to_grid(volume.hu, placement)
    deep = round((k - placement.start[2]) * placement.shape[2] / placement.extent[2])
    grey = window_to_grey(volume.hu, WINDOW_HU)
    probability = found.confidence.map("liver") / 255
    pictures = (
        ("1  read: HU, axes turned to RAS+", take_plane(grey, "axial", k)),
        (
            "2  on the network's grid: 4 mm, the body's box",
            take_plane(window_to_grey(on_grid, WINDOW_HU), "axial", deep),
        ),
        ("3  the network: a probability per structure (liver)", take_plane(probability, "axial", k)),
        ("4  decided on the scan's own voxels, and written", _overlaid(volume, found, k)),
    )
    figure, row = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    for axes, (title, picture) in zip(row, pictures, strict=True):
        axes.imshow(picture, cmap="gray" if picture.dtype == np.uint8 else "magma", interpolation="nearest")
        axes.set_title(title, size=9)
        axes.axis("off")
    return figure


def _phantom(view: str = "chest_abdomen", seed: int = 3) -> tuple[Volume, np.ndarray]:
    """A made CT, and the number of the structure at each voxel."""
    made = make_phantom(seed, spacing_mm=(2.5, 2.5, 4.0), field_of_view=view)
    values = np.zeros(made.hu.shape, np.uint8)
    for channel, structure in reversed(list(enumerate(LabelSet.total()))):
        values[mask_in(made.packed[channel // 8], channel)] = structure.id
    return Volume.from_array(made.hu, made.affine), values


def _overlaid(volume: Volume, found, k: int) -> np.ndarray:  # type: ignore[no-untyped-def]
    colours = palette(LabelSet.total())
    picture = np.repeat(window_to_grey(volume.hu[..., k], WINDOW_HU)[..., None], 3, axis=2).astype(float)
    for structure in found.labels:
        inside = found.mask(structure.name)[..., k]
        picture[inside] = 0.4 * picture[inside] + 0.6 * colours[structure.id]
    return np.ascontiguousarray(picture[::-1, ::-1].transpose(1, 0, 2)).astype(np.uint8)


def way_of_a_slice() -> Figure:
    """What a training slice becomes on its way into the network and the loss."""
    from tomoseg.config import PreprocessConfig
    from tomoseg.preprocessed.read import Preprocessed
    from tomoseg.training.augmentation import network_input
    from tomoseg.training.build import drawn_slices
    from tomoseg.training.sampling import Draw
    from tomoseg.workflows.phantom import make_dataset
    from tomoseg.workflows.preprocess import preprocess

    with tempfile.TemporaryDirectory() as folder:
        make_dataset(Path(folder) / "made", {"train": 1, "validation": 1, "test": 0}, 3, 3.0)
        grid = GridConfig(spacing_mm=4.0, slice_spacing_mm=4.0)
        preprocess(Path(folder) / "made", Path(folder) / "data", PreprocessConfig(grid=grid, workers=1))
        data, config = Preprocessed(Path(folder) / "data"), TrainConfig()
        drawn = drawn_slices(data, config, (96, 96), 2)
        case = data.split("train")[0]
        middle = int(np.argmax([np.ptp(case.ct_slice(k)) for k in range(case.shape[2])]))
        batch = drawn[Draw(0, middle, (0, 0, 5))]
        images, packed = network_input(batch, config, augment=True)
    figure = plt.figure(figsize=(13, 3.3))
    for n in range(5):
        axes = figure.add_axes((0.01 + 0.022 * n, 0.08 + 0.04 * n, 0.17, 0.68))
        axes.imshow(_shown(batch.hu[0, n].numpy()), cmap="gray", vmin=-1000, vmax=1000)
        axes.set(xticks=[], yticks=[])
    labelled = packed[0].numpy()
    for left, picture, scale in ((0.3, images[0, 2].numpy(), "gray"), (0.6, _numbers(labelled), "tab20")):
        axes = figure.add_axes((left, 0.08, 0.2, 0.8))
        axes.imshow(_shown(picture), cmap=scale, interpolation="nearest")
        axes.axis("off")
    for x, text in (
        (0.01, "1  five neighbouring slices are read, as HU"),
        (0.3, "2  changed at random, then the window: 0 to 1"),
        (0.6, "3  masks, changed alike; packed, eight to a byte"),
    ):
        figure.text(x, 0.96, text, size=9)
    figure.text(0.505, 0.5, "network:\none logit per\nstructure\nand pixel", size=9)
    figure.text(0.81, 0.5, "loss: only of\nstructures that\nare annotated", size=9)
    return figure


def _shown(array: np.ndarray) -> np.ndarray:
    return array[::-1, ::-1].T


def _numbers(packed: np.ndarray) -> np.ndarray:
    """The number of a colour per structure, masked where there is none."""
    values = np.zeros(packed.shape[1:])
    for channel in range(117):
        values[mask_in(packed[channel // 8], channel)] = 1 + channel % 19
    return np.ma.masked_equal(values, 0)


def corners() -> Figure:
    """Where decisions are copied from the corners of a cell, and where logits are interpolated."""
    rng = np.random.default_rng(5)
    x, y = np.indices((7, 7)).astype(float)
    heights = np.stack([4 - np.hypot(x - 1.5, y - 2.2) * 2, 4.4 - np.hypot(x - 4.6, y - 3.6) * 1.9])
    logits = np.float32(heights + rng.normal(0, 0.25, heights.shape))
    winner = np.where(logits.max(0) > 0, logits.argmax(0) + 1, 0)
    fine = 8
    placement = Placement((0, 0, 0), (7 * fine, 7 * fine, 1), (7, 7, 1))
    ((low, high, share),) = list(scan_slices([logits], placement))
    exact = decide_labels((low, high, share), (7 * fine, 7 * fine), (1, 2))
    stairs = np.kron(winner, np.ones((fine, fine), int))
    figure, (first, second, third) = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
    colours = matplotlib.colors.ListedColormap(["#f4f4f4", "#7fb0de", "#f2b27a"])
    for axes, picture, title in (
        (first, stairs, "Decide, then enlarge: stairs"),
        (third, exact, "Enlarge logits, then decide"),
    ):
        axes.imshow(picture.T, origin="lower", cmap=colours, vmin=0, vmax=2, extent=(-0.5, 6.5, -0.5, 6.5))
        axes.set_title(title)
    second.set_title("Cells whose corners agree are copied")
    for i in range(6):
        for j in range(6):
            mine = winner[i : i + 2, j : j + 2]
            agree = (mine == mine[0, 0]).all()
            face = colours(int(mine[0, 0])) if agree else "white"
            second.add_patch(
                plt.Rectangle((i, j), 1, 1, fc=face, ec="#aaaaaa", hatch=None if agree else "////", lw=0.6)
            )
    ix, iy = np.indices(winner.shape)
    second.set(xlim=(-0.5, 6.5), ylim=(-0.5, 6.5), aspect="equal")
    for axes in (first, second, third):
        axes.scatter(ix, iy, c=winner, cmap=colours, vmin=0, vmax=2, edgecolors=INK, s=34, zorder=3)
        axes.set(xticks=[], yticks=[])
    second.set_xlabel("hatched: corners differ, logits are interpolated there alone")
    first.set_xlabel("circles: points of the network's grid, by what wins there")
    third.set_xlabel("small squares: the scan's voxels")
    return figure


def axes_of_arrays() -> Figure:
    """Where the three axes of an array lead, on a synthetic body."""
    volume, _ = _phantom("chest_abdomen")
    grey = window_to_grey(volume.hu, (-300.0, 400.0))
    nx, ny, nz = grey.shape
    sx, sy, sz = volume.spacing_mm
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    left.imshow(take_plane(grey, "axial", nz // 2), cmap="gray", extent=(nx * sx, 0, 0, ny * sy))
    right.imshow(take_plane(grey, "coronal", ny // 2), cmap="gray", extent=(nx * sx, 0, 0, nz * sz))
    behind = {"facecolor": "black", "edgecolor": "none", "alpha": 0.75, "pad": 2}
    arrow = {"arrowstyle": "->", "color": ORANGE, "lw": 2}
    for part, up, height, name in (
        (left, "y, anterior", ny * sy, "An axial slice, array[:, :, k]"),
        (right, "z, superior", nz * sz, "A coronal slice, array[:, j, :]"),
    ):
        width = nx * sx
        part.annotate("", (0.4 * width, 0.04 * height), (0.05 * width, 0.04 * height), arrowprops=arrow)
        part.annotate("", (0.05 * width, 0.36 * height), (0.05 * width, 0.04 * height), arrowprops=arrow)
        part.text(0.42 * width, 0.04 * height, "x, right", color=ORANGE, ha="right", va="center", bbox=behind)
        part.text(0.03 * width, 0.39 * height, up, color=ORANGE, ha="right", va="center", bbox=behind)
        for place, letter in ((0.98, "R"), (0.02, "L")):
            part.text(place * width, 0.6 * height, letter, color="white", ha="center", weight="bold", bbox=behind)
        part.set_title(name)
        part.axis("off")
    return figure


SQUARE = ((-45, -45), (45, -45), (45, 45), (-45, 45))
"""Corners in mm of what is a square in the body, along the slices and across them."""


def tilt() -> Figure:
    """A stack that a tilted gantry made: as it was taken, as its pixels lie in a plain stack, and as it is read."""
    degrees, gap, pixel, size, count = 20.0, 5.0, 3.0, 110, 58
    made = make_phantom(3, spacing_mm=(3.0, 3.0, 3.0), field_of_view="head_neck")
    inverse = np.linalg.inv(made.affine)
    turn = np.radians(degrees)
    middle = made.affine @ [*(np.array(made.hu.shape) / 2), 1.0]
    start_mm = np.array([middle[0] - size * pixel / 2, middle[1] + size * pixel / 2, middle[2] - 205])
    slices = []
    lines = []
    for k in range(count):
        start = start_mm + np.array([0, 0, gap * k])  # the table moves along the patient, not along the slices' normal
        i, j = np.meshgrid(np.arange(size) * pixel, np.arange(size) * pixel)
        x, y, z = start[0] + i, start[1] - j * np.cos(turn), start[2] + j * np.sin(turn)
        index = (inverse @ np.stack([x, y, z, np.ones_like(x)]).reshape(4, -1))[:3]
        hu = ndimage.map_coordinates(made.hu.astype(float), index, order=1, cval=-1000).reshape(x.shape)
        position = (-start[0], -start[1], start[2])
        lines.append((y[[0, -1], 0], z[[0, -1], 0]))
        stored = np.ascontiguousarray(hu.astype(np.int16))
        slices.append(image(stored, position, k + 1, (pixel, pixel), (-1, 0, 0, 0, np.cos(turn), np.sin(turn))))
    plain = np.stack([one.pixel_array for one in slices])[:, :, size // 2]
    with tempfile.TemporaryDirectory() as folder:
        volume = read_scan(save(slices, Path(folder)))
    figure, row = plt.subplots(1, 3, figsize=(12, 4.3), layout="constrained")
    body, straight = made.hu[made.hu.shape[0] // 2], volume.hu[volume.hu.shape[0] // 2]
    low = made.affine[1:3, 3]
    for part, picture, edges, title in (
        (row[0], body.T, (3.0, 3.0), "As the gantry cuts the body, seen from the side"),
        (row[1], plain[:, ::-1], (pixel, gap * np.cos(turn)), "The slices piled up as if straight: sheared"),
        (row[2], straight.T, volume.spacing_mm[1:], "As tomoseg reads them: a straight grid, turned alike"),
    ):
        up, across = np.multiply(picture.shape, edges[::-1])
        start = low if part is row[0] else (0, 0)
        extent = (start[0], start[0] + across, start[1], start[1] + up)
        part.imshow(picture, cmap="gray", vmin=-300, vmax=400, origin="lower", extent=extent)
        part.set(xticks=[], yticks=[], xlabel="posterior → anterior", title=title, facecolor="black")
        part.set(xlim=(start[0], start[0] + 330), ylim=(start[1], start[1] + 285))
    for ys, zs in lines[::4]:
        row[0].plot(ys, zs, color=ORANGE, lw=1)
    along, across = np.array([np.cos(turn), -np.sin(turn)]), np.array([np.sin(turn), np.cos(turn)])
    square = [middle[1:3] + 20 * across + a * along + b * across for a, b in SQUARE]  # anterior, superior
    behind = [(start_mm[1] - y) / np.cos(turn) for y, _ in square]
    piled = [
        ((size - 1) * pixel - one, (z - start_mm[2] - one * np.sin(turn)) * np.cos(turn))
        for one, (_, z) in zip(behind, square, strict=True)
    ]
    back = np.linalg.inv(volume.affine)
    read = [(back @ [middle[0], y, z, 1])[1:3] * volume.spacing_mm[1:] for y, z in square]
    for part, places in zip(row, (square, piled, read), strict=True):
        part.add_patch(plt.Polygon(places, fill=False, ec="#4fb3ff", lw=2))
    return figure


def view_planes() -> Figure:
    """The same body in slices of the three views."""
    volume, values = _phantom("trunk")
    colours = palette(LabelSet.total())
    grey = window_to_grey(volume.hu, (-300.0, 500.0))
    figure, row = plt.subplots(1, 3, figsize=(11, 5.4), width_ratios=(1.2, 1, 0.75), layout="constrained")
    spine = int(np.median(np.nonzero(values == LabelSet.total()["vertebrae_L2"].id)[0]))
    places = {"axial": values.shape[2] // 2, "coronal": int(values.shape[1] * 0.45), "sagittal": spine}
    words = {
        "axial": "ribs and vertebrae look alike",
        "coronal": "ribs can be counted",
        "sagittal": "vertebrae can be counted",
    }
    edges = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}
    for part, (plane, index) in zip(row, places.items(), strict=True):
        picture = np.repeat(take_plane(grey, plane, index)[..., None], 3, axis=2).astype(float)
        shown = take_plane(values, plane, index)
        picture[shown > 0] = 0.45 * picture[shown > 0] + 0.55 * colours[shown[shown > 0]]
        across, up = edges[plane]
        part.imshow(
            picture.astype(np.uint8), aspect=volume.spacing_mm[up] / volume.spacing_mm[across], interpolation="nearest"
        )
        part.set_title(f"{plane}: {words[plane]}", size=9)
        part.axis("off")
    return figure


QUESTIONS = (
    ("Best validation Dice\nbelow 0.1?", "see “My Dice is 0”"),
    ("Does the loss still fall\nat the end?", "more --minutes:\nbefore any setting"),
    ("Is a structure’s ceiling\nbelow 0.9 in preprocess?", "finer grid:\n--grid.spacing-mm"),
    ("Are the voxels\n3 mm or coarser?", "little turning:\n--augmentation.move-\nprobability 0.33 or 0"),
    ("Fewer than\nten patients?", "--warm-start body-117"),
    ("Specks and gaps?", "tomoseg tune"),
    ("A GPU, or\nhours of a CPU?", "more --network.channels,\nthen --network.dims 3"),
    ("Must you know which\nscans to trust?", "several models, --triage"),
)


def settings() -> Figure:
    """Which setting to change, as questions one after the other."""
    figure, part = plt.subplots(figsize=(12, 4.6), layout="constrained")
    for number, (question, answer) in enumerate(QUESTIONS):
        row, column = divmod(number, 4)
        x, y = 3.1 * column, -2.6 * row
        _box(part, (x, y), question, BLUE)
        _box(part, (x, y - 1.2), answer, GREEN)
        part.annotate(
            "yes", (x, y - 0.84), (x, y - 0.4), ha="center", va="center", arrowprops={"arrowstyle": "->", "color": INK}
        )
        if column < 3:
            part.annotate("", (x + 2.15, y), (x + 0.95, y), arrowprops={"arrowstyle": "->", "color": INK})
            part.text(x + 1.55, y + 0.1, "no", ha="center")
    part.plot([10.2, 11.0, 11.0, -1.6, -1.6, -0.95], [0, 0, -1.9, -1.9, -2.6, -2.6], color=INK, lw=0.8)
    part.text(10.6, 0.1, "no", ha="center")
    part.set(xlim=(-1.8, 11.2), ylim=(-4.5, 0.6))
    part.axis("off")
    return figure


def _box(part: Axes, place: tuple[float, float], text: str, colour: str) -> None:
    style = {"boxstyle": "round,pad=0.4", "fc": "white", "ec": colour, "lw": 1.5}
    part.text(*place, text, ha="center", va="center", size=8.5, bbox=style)


FIGURES = {
    "house": house,
    "way_of_a_scan": way_of_a_scan,
    "way_of_a_slice": way_of_a_slice,
    "corners": corners,
    "axes": axes_of_arrays,
    "tilt": tilt,
    "view_planes": view_planes,
    "settings": settings,
}

if __name__ == "__main__":
    main()

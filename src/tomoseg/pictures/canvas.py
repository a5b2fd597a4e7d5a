"""What all pictures are made with: display orientation, grey values, colours, and a sheet to draw on.

Display convention: radiological. The viewer looks at an axial slice from the feet (the patient's right on the
image's left, anterior up), at a coronal slice from the front (right on the left, superior up) and at a sagittal
slice from the patient's left side (anterior on the left, superior up). From RAS+ arrays all three are the same
two flips and one transposition, see `to_display`.

Drawing uses matplotlib's objects and the Agg renderer only, so that it works in threads and without a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from contourpy import LineType, contour_generator
from jaxtyping import Bool, Int16, Integer, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke
from scipy.ndimage import find_objects

from tomoseg.errors import InputError
from tomoseg.files.atomic import whole_file
from tomoseg.labels import LabelSet
from tomoseg.language.words import all_later, say
from tomoseg.settings import Language

Plane = Literal["axial", "coronal", "sagittal"]
EdgeMark = Literal["R", "L", "A", "P", "S", "I"]
"""Letters of the patient's sides; in French those of droite, gauche, antérieur, postérieur, supérieur, inférieur."""
all_later("axial", "coronal", "sagittal", "R", "L", "A", "P", "S", "I")
Colour = tuple[int, int, int]

DPI = 100
FONT = "DejaVu Sans"
"""A font that matplotlib includes, so that pictures look the same everywhere."""

BACKGROUND = "#101214"
BRIGHT = "#f2f2f2"
DIM = "#a8adb3"

NORMAL_AXIS: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Array axis that is perpendicular to each plane."""

EDGE_MARKS: dict[Plane, tuple[EdgeMark, EdgeMark, EdgeMark, EdgeMark]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
"""Sides of the patient at the left, right, top and bottom of a displayed plane."""

BODY_HU = -500
"""Voxels above this HU are not air."""

_LEAST_HEIGHT_PX = 70
_SCALE_BARS_MM = (5, 10, 20, 50, 100, 200)


def to_display(slice_: Shaped[np.ndarray, "u v"]) -> Shaped[np.ndarray, "v u"]:
    """Turn a slice of a RAS+ array into rows from the top and columns from the left (a view).

    Works for `(x, y)`, `(x, z)` and `(y, z)` alike: high indices are right, anterior or superior, and these are
    shown at the left and at the top.

    Example:
        >>> to_display(np.array([["left-back", "left-front"], ["right-back", "right-front"]])).tolist()
        [['right-front', 'left-front'], ['right-back', 'left-back']]
    """
    return slice_[::-1, ::-1].T


def take_plane(array: Shaped[np.ndarray, "x y z"], plane: Plane, index: int) -> Shaped[np.ndarray, "rows columns"]:
    """Return one slice of a RAS+ volume, oriented for display."""
    return to_display(np.take(array, index, axis=NORMAL_AXIS[plane]))


def plane_spacing(spacing_mm: tuple[float, float, float], plane: Plane) -> tuple[float, float]:
    """Return pixel width and height in mm of a displayed plane."""
    width, height = (edge for axis, edge in enumerate(spacing_mm) if axis != NORMAL_AXIS[plane])
    return (width, height)


def window_to_grey(hu: Int16[np.ndarray, "*shape"], window_hu: tuple[float, float]) -> UInt8[np.ndarray, "*shape"]:
    """Map HU to grey values: 0 at the window's lower end and below, 255 at its upper end and above.

    Raises:
        InputError: If the window's lower end is not below its upper end.

    Example:
        >>> window_to_grey(np.array([-1000, -200, 50, 300], np.int16), (-200, 300)).tolist()
        [0, 0, 128, 255]
    """
    low, high = window_hu
    if not low < high:
        raise InputError(f"expected a window from low to high HU, got {window_hu}; swap or widen it")
    scaled = (np.clip(hu, low, high).astype(np.float32) - low) * (255 / (high - low))
    grey: UInt8[np.ndarray, "*shape"] = np.rint(scaled).astype(np.uint8)
    return grey


def palette(labels: LabelSet) -> UInt8[np.ndarray, "n 3"]:
    """Return the RGB colours of a label set, indexed by `id`; unused ids are black."""
    colours = np.zeros((max(labels.ids) + 1, 3), np.uint8)
    for structure in labels:
        colours[structure.id] = structure.colour
    return colours


def content_box(mask: Bool[np.ndarray, "*shape"], margin: Sequence[int]) -> tuple[slice, ...]:
    """Return the bounding box of a mask plus a margin; the whole array if the mask is empty.

    Args:
        mask: The mask.
        margin: Voxels to add on both sides of each axis, as far as the array reaches.

    Example:
        >>> content_box(np.array([0, 0, 0, 1, 0, 0], bool), (1,))
        (slice(2, 5, None),)
    """
    box = []
    for axis, size in enumerate(mask.shape):
        inside = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        first, last = (inside[0], inside[-1]) if inside.size else (0, size - 1)
        box.append(slice(max(0, int(first) - margin[axis]), min(size, int(last) + 1 + margin[axis])))
    return tuple(box)


@dataclass(frozen=True)
class DisplayedImage:
    """One displayed image, with axes in millimetres, rows from the top and columns from the left.

    Attributes:
        axes: Matplotlib axes that the image is drawn in.
        spacing_mm: Width and height of a pixel.
    """

    axes: Axes
    spacing_mm: tuple[float, float]

    def image(self, grey: UInt8[np.ndarray, "rows columns"]) -> None:
        """Show a grey image whose pixels are `spacing_mm` wide and high."""
        rows, columns = grey.shape
        width, height = columns * self.spacing_mm[0], rows * self.spacing_mm[1]
        self.axes.imshow(
            grey,
            cmap="gray",
            vmin=0,
            vmax=255,
            interpolation="bicubic",
            resample=True,
            extent=(0, width, height, 0),
            aspect="equal",
            origin="upper",
        )
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)

    def structures(
        self,
        values: Integer[np.ndarray, "rows columns"],
        colours: UInt8[np.ndarray, "n 3"],
        opacity: float,
        line_px: float,
    ) -> None:
        """Overlay a label map in colour, each value with an outline half way between pixels.

        Args:
            values: 0 leaves the picture as it is, `i` lays `colours[i]` over it.
            colours: RGB of each value.
            opacity: The opacity of the areas: 0 shows the picture alone, 1 the colours alone. Outlines are opaque.
            line_px: Width of the outlines; 0 draws none.
        """
        width, height = self.spacing_mm
        for value, box in enumerate(find_objects(values.astype(np.int32)), start=1):
            if box is None:
                continue
            inside = np.pad(values[box] == value, 1).astype(np.float32)
            x = (np.arange(inside.shape[1]) + box[1].start - 0.5) * width
            y = (np.arange(inside.shape[0]) + box[0].start - 0.5) * height
            borders: Any = contour_generator(x, y, inside, line_type=LineType.ChunkCombinedCode).lines(0.5)
            (points,), (codes,) = borders
            colour = _hex(colours[value])
            area = PathPatch(
                Outline(points, codes),
                facecolor=to_rgba(colour, opacity),
                edgecolor=colour,
                linewidth=line_px * 72 / DPI,
            )
            self.axes.add_artist(area)

    def widen(self, share: float) -> None:
        """Leave space above and below the picture for its marks, each a fraction `share` of the picture's width."""
        (left, right), (bottom, top) = self.axes.get_xlim(), self.axes.get_ylim()
        room = share * (right - left)
        self.axes.set_ylim(bottom + room, top - room)

    @property
    def is_flat(self) -> bool:
        """Whether the picture is too low for marks at its top and bottom."""
        self.axes.apply_aspect()
        return bool(self.axes.get_window_extent().height < _LEAST_HEIGHT_PX)

    def marks(self, plane: Plane, size_px: float = 15, lang: Language = "en") -> None:
        """Write the patient's side at each edge; on a flat picture only at the left and right edges."""
        places = (
            (0.015, 0.5, "left", "center"),
            (0.985, 0.5, "right", "center"),
            (0.5, 0.985, "center", "top"),
            (0.5, 0.015, "center", "bottom"),
        )
        for mark, (x, y, across, up) in zip(EDGE_MARKS[plane], places, strict=True):
            if up == "center" or not self.is_flat:
                self.note(x, y, say(mark, lang), size_px, ha=across, va=up, weight="bold")

    def note(self, x: float, y: float, text: str, size_px: float, **style: Any) -> None:
        """Write over the picture at `x` and `y`, which run from 0 to 1 from the lower left corner of the picture."""
        self.axes.text(
            x,
            y,
            drawable(text),
            transform=self.axes.transAxes,
            color=BRIGHT,
            fontsize=size_px * 72 / DPI,
            family=FONT,
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="black")],
            **style,
        )

    def scale_bar(self) -> None:
        """Draw a scale bar at the lower right if there is room: a round length up to a third of the picture's width."""
        (left, right), (bottom, top) = self.axes.get_xlim(), self.axes.get_ylim()
        length = max((bar for bar in _SCALE_BARS_MM if bar <= (right - left) / 3), default=None)
        if length is None or self.is_flat:
            return
        end, level = right - 0.03 * (right - left), bottom - 0.03 * (bottom - top)
        self.axes.plot(
            [end - length, end],
            [level, level],
            color=BRIGHT,
            linewidth=1.5,
            solid_capstyle="butt",
            path_effects=[withStroke(linewidth=3, foreground="black")],
        )
        text = f"{length // 10} cm" if length >= 10 else f"{length} mm"
        self.note(1 - 0.03 - length / 2 / (right - left), 0.04, text, 14, ha="center", va="bottom", weight="bold")


class Sheet:
    """A figure measured in pixels from its top left corner.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        background: Colour of the background.
    """

    def __init__(self, width: int, height: int, background: str = BACKGROUND) -> None:
        self.width, self.height, self.background = width, height, background
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=background, edgecolor="none")
        self._canvas = FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes in a rectangle of the sheet, given in pixels."""
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height),
            facecolor=self.background,
        )

    def view(
        self, left: float, top: float, width: float, height: float, spacing_mm: tuple[float, float]
    ) -> DisplayedImage:
        """Add a picture that is as large as fits into the rectangle, given in pixels."""
        axes = self.axes(left, top, width, height)
        axes.set_axis_off()
        axes.set_anchor("N")
        return DisplayedImage(axes, spacing_mm)

    def text(
        self, x: float, y: float, text: str, size_px: float, colour: str = BRIGHT, longest: int = 90, **style: Any
    ) -> None:
        """Write one line of at most `longest` characters, vertically centred at `y`."""
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            drawable(text, longest),
            color=colour,
            fontsize=size_px * 72 / DPI,
            family=FONT,
            parse_math=False,
            **{"ha": "left", "va": "center", **style},
        )

    def swatch(self, left: float, top: float, size: float, colour: Colour, *, filled: bool = True) -> None:
        """Draw a small square with a thin border or, if it is not filled, only the border in the colour."""
        square = Rectangle(
            (left / self.width, 1 - (top + size) / self.height),
            size / self.width,
            size / self.height,
            transform=self.figure.transFigure,
            facecolor=_hex(colour) if filled else "none",
            edgecolor=DIM if filled else _hex(colour),
            linewidth=0.6 if filled else 1.2,
        )
        self.figure.add_artist(square)

    def png(self) -> bytes:
        """Return the sheet as PNG, to embed in a page."""
        written = BytesIO()
        self._canvas.print_png(written, metadata={"Software": "tomoseg"})
        return written.getvalue()

    def save(self, path: Path) -> None:
        """Write the sheet as PNG, completely or not at all.

        Raises:
            OutputError: If the file cannot be written.
        """
        with whole_file(path) as aside:
            self._canvas.print_png(aside, metadata={"Software": "tomoseg"})


def drawable(text: str, longest: int = 90) -> str:
    """Make a text drawable on one line: characters that the font lacks become `?`, a long text loses its middle."""
    font = get_font(findfont(FONT))
    line = " ".join(text.split())
    line = "".join(c if font.get_char_index(ord(c)) else "?" for c in line)
    if len(line) <= longest:
        return line
    return f"{line[: longest // 2]}…{line[len(line) - (longest - longest // 2 - 1) :]}"


def _hex(colour: Sequence[int] | UInt8[np.ndarray, "3"]) -> str:
    red, green, blue = (int(part) for part in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"

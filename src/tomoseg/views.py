"""Views of the body: axial, coronal and sagittal slices as orders of the axes x, y and z.

Everything that works slice by slice gets arrays with the slice axis last (`volume.seen`), and its results are put back
into the order x, y, z (`volume.as_axial`).
"""

from __future__ import annotations

from typing import Literal, TypeVar

ViewName = Literal["axial", "coronal", "sagittal"]

AXES: dict[str, tuple[int, int, int]] = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
"""Axes of each view as indices of x, y and z: two in the plane of a slice, then the slice axis."""

Value = TypeVar("Value")


def axes_back(view: str) -> tuple[int, int, int]:
    """Return the positions of x, y and z among a view's axes."""
    x, y, z = (AXES[view].index(axis) for axis in range(3))
    return x, y, z


def left_right_axis(view: str) -> int:
    """Return the position of the left-right axis among a view's axes: 0 or 1 in the plane, 2 across slices.

    Example:
        >>> left_right_axis("coronal"), left_right_axis("sagittal")
        (0, 2)
    """
    return AXES[view].index(0)


def ordered(values: tuple[Value, Value, Value], view: str) -> tuple[Value, Value, Value]:
    """Reorder values for x, y and z to the order of a view's axes.

    Example:
        >>> ordered((0.8, 0.9, 5.0), "coronal")
        (0.8, 5.0, 0.9)
    """
    first, second, along = AXES[view]
    return values[first], values[second], values[along]


def unordered(values: tuple[Value, Value, Value], view: str) -> tuple[Value, Value, Value]:
    """Undo `ordered`.

    Example:
        >>> unordered((0.8, 5.0, 0.9), "coronal")
        (0.8, 0.9, 5.0)
    """
    x, y, z = axes_back(view)
    return values[x], values[y], values[z]

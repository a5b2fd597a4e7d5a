"""Views of the body: along which of its axes the slices of a network follow one another.

A network of slices may look at the body from above (axial), from the front (coronal) or from the side (sagittal). For
all that works slice by slice a view is an order of axes and nothing else: arrays are handed over with the axis that the
slices follow one another along as the last (`volume.seen`), and what comes out is put back (`volume.as_axial`).
"""

from __future__ import annotations

from typing import Literal, TypeVar

ViewName = Literal["axial", "coronal", "sagittal"]

AXES: dict[str, tuple[int, int, int]] = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
"""Of x, y and z those that lie in a view's slices, and last the one that the slices follow one another along."""

Value = TypeVar("Value")


def axes_back(view: str) -> tuple[int, int, int]:
    """Where x, y and z lie among a view's axes."""
    x, y, z = (AXES[view].index(axis) for axis in range(3))
    return x, y, z


def left_right_axis(view: str) -> int:
    """Where left and right lie among a view's axes: 0 or 1 in its slices, 2 along them.

    Example:
        >>> left_right_axis("coronal"), left_right_axis("sagittal")
        (0, 2)
    """
    return AXES[view].index(0)


def ordered(values: tuple[Value, Value, Value], view: str) -> tuple[Value, Value, Value]:
    """What belongs to x, y and z in the order of a view's axes.

    Example:
        >>> ordered((0.8, 0.9, 5.0), "coronal")
        (0.8, 5.0, 0.9)
    """
    first, second, along = AXES[view]
    return values[first], values[second], values[along]


def unordered(values: tuple[Value, Value, Value], view: str) -> tuple[Value, Value, Value]:
    """The inverse of `ordered`.

    Example:
        >>> unordered((0.8, 5.0, 0.9), "coronal")
        (0.8, 0.9, 5.0)
    """
    x, y, z = axes_back(view)
    return values[x], values[y], values[z]

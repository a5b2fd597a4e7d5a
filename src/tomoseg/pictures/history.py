"""Training curves: reading `metrics.jsonl` and drawing it as `history.png`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from tomoseg.errors import InputError
from tomoseg.language.words import later, number, pointed, say
from tomoseg.pictures.canvas import FONT, Sheet
from tomoseg.settings import Language

NUMBERS = ("train_loss", "validation_loss", "validation_dice", "learning_rate", "minutes")
"""Measured values of an epoch; null or absent if not measured."""

_INK, _GRID = "#222222", "#dddddd"
_TRAINING, _VALIDATION, _DICE, _RATE = "#1f6fb4", "#d9541e", "#2a8a4a", "#6b4ea0"
_LOG_SPAN = 1e4
"""Largest ratio of learning rates shown; a cosine schedule ends at 0, which a logarithmic axis cannot show."""

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _GAP = 1600, 480, 80, 56, 64, 84


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the epochs of a run, one JSON object per line.

    An incomplete last line, as a killed run leaves it, is skipped.

    Returns:
        The records in file order; an empty list for an empty file.

    Raises:
        InputError: If the file cannot be read or a line is not the record of an epoch.
    """
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{path}: expected the metrics of a run, got: {error}; pass a run folder's file") from None
    records = []
    for place, line in enumerate([*lines, rest], start=1):
        if not line.strip():
            continue
        problem, record = _parse(line)
        if problem is None:
            records.append(record)
        elif place <= len(lines):
            raise InputError(f"{path}: expected a record of an epoch in line {place}, got {problem}; delete the line")
    return records


def draw_history(records: Sequence[Mapping[str, Any]], path: Path, lang: Language = "en") -> None:
    """Draw loss, validation Dice and learning rate over the epochs, side by side.

    If an epoch occurs twice (a resumed run), the last record counts. Missing validations are bridged by lines. The
    learning rate is logarithmic if it spans more than a factor of ten.

    Args:
        records: One per epoch: `epoch`, and any of `NUMBERS`.
        path: The PNG file to write.
        lang: The language of the captions.

    Raises:
        InputError: If there is no record.
        OutputError: If the file cannot be written.
    """
    if not records:
        raise InputError("expected at least one epoch to draw, got none; train for an epoch first")
    by_epoch = {int(record["epoch"]): record for record in records}
    epochs = np.array(sorted(by_epoch))
    series = {
        name: np.array([_number(by_epoch[int(epoch)].get(name)) for epoch in epochs], np.float64) for name in NUMBERS
    }
    sheet = Sheet(_WIDTH, _HEIGHT, "white")
    _draw_loss(_plot(sheet, 0, later("Loss"), lang), epochs, series, lang)
    _draw_dice(_plot(sheet, 1, later("Validation Dice"), lang), epochs, series["validation_dice"], lang)
    _draw_rate(_plot(sheet, 2, later("Learning rate"), lang), epochs, series["learning_rate"], lang)
    sheet.save(path)


def best_epoch(epochs: np.ndarray, dice: Float[np.ndarray, "n"]) -> tuple[int, float] | None:
    """Return the first epoch of the highest Dice, and that Dice; None if nothing was validated."""
    if not np.isfinite(dice).any():
        return None
    best = int(np.nanargmax(dice))
    return int(epochs[best]), float(dice[best])


def _parse(line: bytes) -> tuple[str | None, dict[str, Any]]:
    """Parse a line; return what is wrong with it (None if nothing is), and the record."""
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return f"no JSON ({error})", {}
    if not isinstance(record, dict):
        return f"a {type(record).__name__}", {}
    if type(record.get("epoch")) is not int:
        return f"epoch {record.get('epoch')!r}", {}
    for name in NUMBERS:
        if type(record.get(name)) not in {int, float, type(None)}:
            return f"{name} {record[name]!r}", {}
    return None, record


def _number(value: float | None) -> float:
    """Return a value as float; NaN, which leaves a gap, if it was not measured or is infinite."""
    return float(value) if value is not None and np.isfinite(value) else float("nan")


def _plot(sheet: Sheet, position: int, title: str, lang: Language) -> Axes:
    """Make the axes of one of the three panels."""
    width = (_WIDTH - 2 * _LEFT - _GAP * 2 + _LEFT / 2) / 3
    axes = sheet.axes(_LEFT + position * (width + _GAP), _TOP, width, _HEIGHT - _TOP - _BOTTOM)
    axes.set_title(say(title, lang), fontsize=13, color=_INK, family=FONT, weight="bold", loc="left")
    axes.set_xlabel(say("Epoch", lang), fontsize=11, color=_INK, family=FONT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.grid(True, which="major", color=_GRID, linewidth=0.8, linestyle="-")
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(_Ticks(lang))
    axes.tick_params(colors=_INK, labelsize=10, labelfontfamily=FONT)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _curve(axes: Axes, epochs: np.ndarray, values: Float[np.ndarray, "n"], colour: str, label: str) -> None:
    """Draw the measured values joined by a line, with dots if they are few."""
    measured = np.isfinite(values)
    marker = "o" if measured.sum() <= 40 else None
    axes.plot(
        epochs[measured],
        values[measured],
        color=colour,
        label=label,
        linewidth=2,
        linestyle="-",
        marker=marker,
        markersize=4.5,
        solid_joinstyle="round",
    )


def _show_all(axes: Axes, epochs: np.ndarray) -> None:
    """Show all epochs, so that each panel has the same range."""
    margin = max(0.5, 0.03 * (epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)


def _draw_loss(axes: Axes, epochs: np.ndarray, series: Mapping[str, Float[np.ndarray, "n"]], lang: Language) -> None:
    _curve(axes, epochs, series["train_loss"], _TRAINING, say("training", lang))
    if np.isfinite(series["validation_loss"]).any():
        _curve(axes, epochs, series["validation_loss"], _VALIDATION, say("validation", lang))
    axes.legend(prop={"family": FONT, "size": 10}, labelcolor=_INK, frameon=False, loc="upper right")
    _show_all(axes, epochs)


def _draw_dice(axes: Axes, epochs: np.ndarray, dice: Float[np.ndarray, "n"], lang: Language) -> None:
    _curve(axes, epochs, dice, _DICE, say("mean", lang))
    best = best_epoch(epochs, dice)
    if best is None:
        text = say("not validated yet", lang)
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=_INK, family=FONT)
        axes.set_ylim(0, 1)
    else:
        axes.plot(*best, marker="*", markersize=16, color="#e8b000", markeredgecolor=_INK, linestyle="none", zorder=5)
        title = say("best {dice} in epoch {epoch}", lang, dice=number(best[1], 3, lang), epoch=best[0])
        axes.set_title(title, fontsize=11, color=_INK, family=FONT, loc="right")
        axes.set_ylim(0, min(1.02, 1.15 * max(best[1], 0.01)))
    _show_all(axes, epochs)


def _draw_rate(axes: Axes, epochs: np.ndarray, rate: Float[np.ndarray, "n"], lang: Language) -> None:
    positive = rate[np.isfinite(rate) & (rate > 0)]
    highest = float(positive.max(initial=0))
    if positive.size and highest > 10 * positive.min():
        lowest = max(float(positive.min()), highest / _LOG_SPAN)
        axes.set_yscale("log")  # which brings its own formatter
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value, lang)))
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if highest < 100 * lowest else (1,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(lowest / 1.3, highest * 1.5)
        rate = np.where(rate > 0, rate, np.nan)
    elif positive.size:
        axes.set_ylim(0, 1.15 * highest)
    _curve(axes, epochs, rate, _RATE, say("learning rate", lang))
    _show_all(axes, epochs)


class _Ticks(ScalarFormatter):
    """Numbers at a linear axis, all with the same decimals, in a language."""

    def __init__(self, lang: Language) -> None:
        super().__init__(useOffset=False)
        self.set_scientific(False)
        self._lang = lang

    def __call__(self, x: float, pos: int | None = None) -> str:
        return pointed(super().__call__(x, pos), self._lang)


def power(value: float, lang: Language = "en") -> str:
    """Format a number at a logarithmic axis; very small ones as a multiple of a power of ten.

    Example:
        >>> power(0.002), power(0.002, "fr"), power(5e-05), power(1e-05)
        ('0.002', '0,002', '5·10⁻⁵', '10⁻⁵')
    """
    text = f"{value:.6g}"
    factor, is_small, exponent = text.partition("e-")
    if is_small:
        raised = f"10⁻{exponent.lstrip('0').translate(_RAISED)}"
        text = raised if factor == "1" else f"{factor}·{raised}"
    return pointed(text, lang)

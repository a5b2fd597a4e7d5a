"""Report of an evaluation as a self-contained, printable HTML page.

The page shows means with confidence intervals, the spread of each structure, and the worst results.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Float64
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tomoseg.evaluation.metrics import METRICS, Place
from tomoseg.evaluation.ranking import Ranking
from tomoseg.evaluation.scores import CaseScore, StructureScore
from tomoseg.evaluation.statistics import Difference, Estimate
from tomoseg.evaluation.summary import Comparison, StructureSummary, Summary, table_of
from tomoseg.files.atomic import write_whole_text
from tomoseg.labels import LabelSet
from tomoseg.language.sentences import sentence
from tomoseg.language.words import NO_BREAK, later, millilitres, number, percent, say, say_many, short
from tomoseg.notices import Notice
from tomoseg.pictures.structure_names import readable, readable_group
from tomoseg.settings import Language

LEAST_P = 0.001
"""Smaller p values are shown as `< 0.001`."""

_FAILED, _PALE, _DARK = "rgb(232 163 61)", (200, 220, 240), (18, 60, 105)
"""Colours of cases below the lowest threshold of success, at or above it, and at or above the highest."""

_HOW = later(
    "Means are taken over cases first and then over structures, so that each structure counts once, however many "
    "cases show it. In brackets: the 95% bootstrap interval over patients; with fewer than five patients there is "
    "none. n is the number of cases with a Dice; that of another metric is given beside it where it differs. A "
    "group's row is the mean of its structures. The volume error is the predicted volume minus that of the reference."
    " A structure that the reference lacks has no Dice; if it was predicted, it counts as a false alarm, with its "
    "volume. Found: at least one voxel in common. A missed structure has a Dice of 0 and, as distances, the diagonal "
    "of the scan. The box spans the middle half of the cases, the line is their median, whiskers reach the last case "
    "within one and a half boxes, dots are the other cases. Pictures show the slice in which most voxels are wrong: "
    "the reference in red, the prediction in blue, what they share in purple."
)
_COMPARED_HOW = later(
    "{ours} minus {theirs}, on the cases that both have ({cases}): a difference of Dice above 0 is in favour of "
    "{ours}, one of HD95 against it. p is that of Wilcoxon's signed-rank test over patients; for structures it is "
    "corrected for their number (Holm). With fewer than five patients with a pair there is neither an interval nor a "
    "p. Bold: p < 0.05."
)
_RANKED_HOW = later(
    "A structure's success rate at a threshold is the share of its cases whose Dice reaches the threshold. Cases in "
    "which it is absent do not count; those in which it is missed are failures. Structures are ordered by median Dice; "
    "the rank by success follows the mean of the rates; ties share a rank. The row of all structures is the mean over "
    "them."
)
"""Explanations that are shown with the tables."""


@dataclass(frozen=True)
class ScorePage:
    """Content of the page.

    Attributes:
        title: Name of the evaluated masks.
        reference: Name of the reference.
        labels: The structures.
        summary: Means over cases and structures.
        scores: One entry per case.
        tolerance: Tolerance of surface Dice in mm; None if each structure has its own.
        empties: Convention for empty masks.
        worst: The worst results, as case and score, the worst first.
        pictures: Case, structure and PNG file of some of these results.
        comparison: Name of other scores, and the comparison with them.
        failed: Reasons why cases could not be scored, by case.
        warnings: Further warnings.
        course: Records of the training's epochs, if known.
        noticed: Notices about scans and references, the most important first.
        ranking: Structures, best first, with their success rates; None to leave it out.
        pages: 3D pages: the case, and the name of the file beside this page.
    """

    title: str
    reference: str
    labels: LabelSet
    summary: Summary
    scores: Sequence[CaseScore]
    tolerance: float | None
    empties: str
    worst: Sequence[tuple[str, StructureScore]] = ()
    pictures: Sequence[tuple[str, str, Path]] = ()
    comparison: tuple[str, Comparison] | None = None
    failed: dict[str, str] | None = None
    warnings: Sequence[str] = ()
    course: Sequence[Mapping[str, Any]] = ()
    noticed: Sequence[Notice] = ()
    ranking: Ranking | None = None
    pages: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Spread:
    """A box plot on 0 to 100.

    Attributes:
        low: End of the lower whisker.
        first: First quartile.
        median: Median.
        third: Third quartile.
        high: End of the upper whisker.
        beyond: Values beyond the whiskers.
    """

    low: float
    first: float
    median: float
    third: float
    high: float
    beyond: tuple[float, ...]


def write_score_page(page: ScorePage, path: Path, lang: Language = "en") -> None:
    """Write the page.

    Args:
        page: Content of the page.
        path: The HTML file to write.
        lang: Language of the page.

    Raises:
        OutputError: If the file cannot be written.
    """
    columns = [metric for metric, estimate in page.summary.overall.items() if estimate.mean is not None]
    dice = table_of(page.scores, page.labels.names, "dice")
    spreads = {name: spread(dice[:, channel]) for channel, name in enumerate(page.labels.names)}
    rows: dict[str, list[tuple[StructureSummary, Spread | None]]] = {}
    for structure, row in zip(page.labels, page.summary.structures, strict=True):
        rows.setdefault(structure.group, []).append((row, spreads[structure.name]))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files("tomoseg.pictures").joinpath("score_page.html").read_text(encoding="utf-8")
    rendered = environment.from_string(template).render(
        page=page,
        lang=lang,
        say=lambda text, /, **values: say(text, lang, **values),
        sentence=lambda text: sentence(str(text), lang),
        many=partial(_many, lang=lang),
        estimate=partial(_estimate, lang=lang),
        cell=lambda estimate, metric, n: _cell(estimate, metric, n, lang),
        named=lambda metric: _named(metric, page.tolerance, lang),
        column=partial(_column, lang=lang),
        cards=_shown("card", columns),
        compared_in=_shown("comparison", METRICS),
        value=partial(_value, lang=lang),
        number=lambda value, digits: number(value, digits, lang),
        millilitres=partial(millilitres, lang=lang),
        readable=partial(readable, lang=lang),
        readable_group=partial(readable_group, lang=lang),
        voxels=_voxels(page.scores, lang),
        columns=columns,
        rows=rows,
        absent=any(row.absent for row in page.summary.structures),
        compared=None if page.comparison is None else _compared(page.comparison[1], lang),
        pictures=[(_caption(page, case, name, columns, lang), _embedded(file)) for case, name, file in page.pictures],
        curves=_curves(page.course, lang),
        quoted=quote,
        how=_HOW,
        compared_how=_COMPARED_HOW,
        ranked_how=_RANKED_HOW,
        **_ranked(page.ranking, lang),
    )
    write_whole_text(path, rendered)


def spread(values: Float64[np.ndarray, " n"]) -> Spread | None:
    """Return the box plot in percent of values from 0 to 1; None if there are none.

    Whiskers reach the last value within 1.5 interquartile ranges.

    Args:
        values: `(n,)`; NaN is left out.

    Example:
        >>> spread(np.array([0.5, 0.75, 1.0, np.nan]))
        Spread(low=50.0, first=62.5, median=75.0, third=87.5, high=100.0, beyond=())
    """
    known = 100 * values[np.isfinite(values)]
    if not known.size:
        return None
    first, median, third = (float(q) for q in np.percentile(known, (25, 50, 75)))
    reach = 1.5 * (third - first)
    near = known[(known >= first - reach) & (known <= third + reach)]
    beyond = tuple(sorted({round(float(v), 2) for v in known if v < near.min() or v > near.max()}))
    return Spread(float(near.min()), first, median, third, float(near.max()), beyond)


def _ranked(ranking: Ranking | None, lang: Language) -> dict[str, Any]:
    """Return the template's values for the table of ranks."""
    structures = () if ranking is None else ranking.structures
    return {
        "ranked": [row for row in structures if row.n],
        "unranked": [row.structure for row in structures if not row.n],
        "colours": _band_colours(0 if ranking is None else len(ranking.thresholds)),
        "bands": _bands,
        "percent": lambda share: percent(share, lang),
        "dice_from": lambda threshold: f"{threshold:g}".replace(".", "," if lang == "fr" else "."),
    }


def _bands(success: Sequence[float]) -> list[float]:
    """Return the percentage of cases in each band: below the lowest threshold, from there to the next, and so on."""
    edges = [1.0, *success, 0.0]
    return [round(100 * (higher - lower), 2) for higher, lower in pairwise(edges)]


def _band_colours(thresholds: int) -> list[str]:
    """Return a colour for each band of `_bands`: orange for failures, then blue, darker for better."""
    parts = [0.0] if thresholds < 2 else [n / (thresholds - 1) for n in range(thresholds)]
    blues = [[round(a + part * (b - a)) for a, b in zip(_PALE, _DARK, strict=True)] for part in parts]
    return [_FAILED, *(f"rgb({' '.join(map(str, blue))})" for blue in blues)]


def _shown(place: Place, metrics: Iterable[str]) -> list[str]:
    return [metric for metric in metrics if place in METRICS[metric].places]


def _many(count: int, one: str, lang: Language) -> str:
    """Return a number and a noun, in the singular or the plural."""
    return {
        "case": say_many(count, "1 case", "{count} cases", lang),
        "patient": say_many(count, "1 patient", "{count} patients", lang),
        "structure": say_many(count, "1 structure", "{count} structures", lang),
    }[one]


def _column(metric: str, lang: Language) -> str:
    """Return a metric's name with its unit."""
    unit = METRICS[metric].unit
    return METRICS[metric].name(lang) + (f",{NO_BREAK}{unit}" if unit else "")


def _named(metric: str, tolerance_mm: float | None, lang: Language) -> str:
    """Return a metric's name with its unit and, if the metric depends on a tolerance, that tolerance."""
    name = _column(metric, lang)
    if not METRICS[metric].at_tolerance:
        return name
    if tolerance_mm is None:
        return say("{metric}, a tolerance for each structure", lang, metric=name)
    mm = f"{tolerance_mm:g}".replace(".", "," if lang == "fr" else ".")
    return say("{metric} at {distance}", lang, metric=name, distance=f"{mm}{NO_BREAK}mm")


def _value(value: float | None, metric: str, lang: Language) -> str:
    return number(value, METRICS[metric].digits, lang, signed=METRICS[metric].signed)


def _estimate(estimate: Estimate | Difference, metric: str, lang: Language) -> tuple[str, str]:
    """Format a mean and its interval."""
    signed = METRICS[metric].signed or isinstance(estimate, Difference)
    mean = estimate.difference if isinstance(estimate, Difference) else estimate.mean
    middle, low, high = (
        number(v, METRICS[metric].digits, lang, signed=signed) for v in (mean, estimate.low, estimate.high)
    )
    separator = " ; " if lang == "fr" else ", "
    return middle, "" if estimate.low is None else f"({low}{separator}{high})"


def _compared(comparison: Comparison, lang: Language) -> list[tuple[str, int, list[tuple[str, str]], str, bool]]:
    """Return a row for all structures and one for each: pairs, differences, corrected p, and whether p < 0.05."""
    metrics = _shown("comparison", METRICS)
    names = [say("all", lang), *(readable(name, lang) for name in comparison.structures)]
    lines = []
    for name, found, p in zip(
        names,
        [comparison.overall, *comparison.structures.values()],
        [comparison.overall["dice"].p, *comparison.corrected_p().values()],
        strict=True,
    ):
        if found["dice"].n:
            cells = [_estimate(found[metric], metric, lang) for metric in metrics]
            lines.append((name, found["dice"].n, cells, _p(p, lang), p is not None and p < 0.05))
    return lines


def _cell(estimate: Estimate, metric: str, n: int, lang: Language) -> Markup:
    """Format a cell: the mean, the interval below it, and the number of cases where it differs from `n`."""
    mean, interval = _estimate(estimate, metric, lang)
    other = f" n = {estimate.n}" if estimate.n != n else ""
    return Markup("{}<small>{}{}</small>").format(mean, interval, other)


def _p(p: float | None, lang: Language) -> str:
    return number(p, 3, lang) if p is None or p >= LEAST_P else f"< {number(LEAST_P, 3, lang)}"


def _voxels(scores: Sequence[CaseScore], lang: Language) -> str:
    """Format the range of the cases' voxel spacings; empty if unknown."""
    edges = [case.spacing_mm for case in scores if case.spacing_mm]
    if not edges:
        return ""
    ranges = [(short(min(along), lang), short(max(along), lang)) for along in zip(*edges, strict=True)]
    told = [low if low == high else say("{low} to {high}", lang, low=low, high=high) for low, high in ranges]
    return say("voxels of {spacing} mm", lang, spacing=" × ".join(told))


def _caption(page: ScorePage, case: str, structure: str, columns: Sequence[str], lang: Language) -> str:
    """Return a caption: a case, a structure, and the scores of the structure in that case."""
    score = next(s for c in page.scores if c.case == case for s in c.structures if s.structure == structure)
    said = []
    for metric in _shown("caption", columns):
        unit = METRICS[metric].unit
        said.append(f"{METRICS[metric].name(lang)} {_value(score.value(metric), metric, lang)} {unit}".rstrip())
    return " · ".join([case, readable(structure, lang), *said])


def _curves(course: Sequence[Mapping[str, Any]], lang: Language) -> str | None:
    """Draw the training curves, if known, and return them as base64."""
    if not course:
        return None
    from tomoseg.pictures.history import draw_history  # imports Matplotlib

    with TemporaryDirectory() as folder:
        path = Path(folder) / "history.png"
        draw_history(course, path, lang)
        return _embedded(path)


def _embedded(picture: Path) -> str:
    return base64.b64encode(picture.read_bytes()).decode()

"""`tomoseg evaluate`: a model on a split of a preprocessed dataset, or a folder of masks against one of references."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tomoseg.cases.folders import Folders
from tomoseg.cases.run import run_cases
from tomoseg.cases.work import Tell
from tomoseg.errors import ConfigError, DatasetError, GridError, InputError, ModelError, TomosegError
from tomoseg.evaluation.masks import Scoring
from tomoseg.evaluation.metrics import METRICS, check_metrics
from tomoseg.evaluation.ranking import RANKING, Ranking, rank, write_ranking
from tomoseg.evaluation.score_files import SCORES, read_scores, write_scores
from tomoseg.evaluation.scores import EMPTIES, CaseScore, StructureScore
from tomoseg.evaluation.statistics import DRAWS
from tomoseg.evaluation.summary import Comparison, Summary, compare, summarise
from tomoseg.files.atomic import write_whole_text
from tomoseg.files.outputs import begin_folder
from tomoseg.files.paths import fitting
from tomoseg.labels import LabelSet
from tomoseg.limits import refusal
from tomoseg.models.folder import is_model
from tomoseg.notices import Notice, gathered
from tomoseg.options import AS_DEFINED, AS_IN_TRAINING, Compute, EvaluateOptions
from tomoseg.packages import require_installed
from tomoseg.pictures.score_page import ScorePage, write_score_page
from tomoseg.preprocessed.format import INDEX
from tomoseg.settings import yaml_mistake
from tomoseg.version import __version__
from tomoseg.workflows.score_sources import MaskSource, ModelSource

SUMMARY, REPORT = "summary.json", "report.html"
LISTED = 15
"""Number of the worst scores listed in the report."""

OnCase = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        summary: Mean scores of structures, groups and overall.
        scores: The scores of each case.
        labels: The structures that were scored.
        ranking: Structures, the best first, with their success rates.
        failed: The reason by name of each case that could not be scored.
        warnings: Warnings about the evaluation as a whole.
        comparison: The comparison with other scores, if requested.
        pictures: Pictures of the worst structures: case, structure and file.
        pages: 3D pages of the worst cases: case and file.
        tracebacks: Tracebacks of unexpected errors, by case.
        noticed: Notices about scans and references, by case.
    """

    summary: Summary
    scores: list[CaseScore]
    labels: LabelSet
    ranking: Ranking
    failed: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    comparison: Comparison | None = None
    pictures: tuple[tuple[str, str, Path], ...] = ()
    pages: tuple[tuple[str, Path], ...] = ()
    tracebacks: dict[str, str] = field(default_factory=dict)
    noticed: Mapping[str, tuple[Notice, ...]] = field(default_factory=dict)

    @property
    def gathered(self) -> list[Notice]:
        """Notices about scans and references except notes, the most serious first, equal ones grouped."""
        return gathered((case, one) for case, told in self.noticed.items() for one in told if one.level == "warning")


def evaluate(
    predicted: Path | str,
    reference: Path | str,
    options: EvaluateOptions = AS_DEFINED,
    *,
    output: Path | str | None = None,
    compute: Compute = AS_IN_TRAINING,
    on_case: OnCase = lambda done, total: None,
) -> Evaluation:
    """Score a model or masks on whole volumes, each on the reference's own grid.

    Args:
        predicted: A model folder or a run folder; or masks (`datasets/mask_cases.py`).
        reference: For a model, a preprocessed dataset with the model's grid and at least one of its structures; for
            masks, the reference masks.
        options: What to score, how, and what to draw.
        output: Folder to write scores and pictures to; nothing is written if omitted.
        compute: The engine, device and precision that run a model's network.
        on_case: Called with the number of cases done and the total number of cases.

    Returns:
        The scores of each case, and their summary.

    Raises:
        ConfigError: If a metric is unknown, pictures are requested without an output folder, or the tolerances lack a
            structure.
        DatasetError: If there is no case, no structure that both have, the dataset does not fit the model, or the
            scores to compare with have no case of these.
        InputError: If a file that was named cannot be read.
        LabelError: If a structure is unknown.
        ModelError: If the model cannot be loaded.
        OutputError: If the output cannot be written.

    Example:
        >>> found = evaluate(Path("masks"), Path("masks"), output=Path("scores"))
        >>> found.summary.dice, [one.structure for one in found.scores[0].structures]
        (1.0, ['spleen', 'liver'])
    """
    predicted, reference = Path(predicted), Path(reference)
    output = Path(output) if output is not None else None
    _check_drawn(options, output)
    check_metrics(options.metrics)
    if output is not None:
        begin_folder(output, (SCORES, RANKING, SUMMARY, REPORT))
    before = None if options.against is None else read_scores(options.against)
    opened = _source(predicted, reference, options, compute)
    scoring = scoring_of(options, opened.labels)
    unlike = () if options.against is None else _scored_otherwise(options.against, options, scoring)
    work = _Judging(predicted, reference, options, compute, scoring, opened)
    folders = Folders((predicted, reference), output)
    scores, failed, tracebacks = _score_all(work, list(opened.cases), on_case, folders)
    pictures, undrawn = ([], []) if output is None else _draw_worst(opened, scores, options, output)
    pages, unwritten = ([], []) if output is None else _write_pages(opened, scores, options, output)
    evaluation = Evaluation(
        summarise(scores, opened.labels, DRAWS),
        scores,
        opened.labels,
        rank(scores, opened.labels, options.success_at),
        dict(opened.missing) | failed,
        (*opened.warnings, *unlike, *undrawn, *unwritten),
        None if before is None else compare(scores, before, opened.labels),
        tuple(pictures),
        tuple(pages),
        tracebacks,
        opened.noticed,
    )
    if output is not None:
        write_evaluation(evaluation, output, _how(predicted, reference, opened.split, options, scoring))
        write_score_page(_page(evaluation, opened, scoring, options), output / REPORT, options.lang)
    return evaluation


def _check_drawn(options: EvaluateOptions, output: Path | None) -> None:
    """Check that pictures and pages have an output folder and the packages that draw them.

    Raises:
        ConfigError: If either is missing.
    """
    for count, what in ((options.panels, "pictures"), (options.pages_3d, "pages")):
        if count and output is None:
            raise ConfigError(f"expected a folder for {count} {what}, got none; name one with --output")
    if options.pages_3d:
        require_installed("skimage")


def _source(predicted: Path, reference: Path, options: EvaluateOptions, compute: Compute) -> ModelSource | MaskSource:
    if (reference / INDEX).is_file():
        return ModelSource(predicted, reference, options, compute)
    if options.tuned and not is_model(predicted):
        raise ConfigError("expected a model and a preprocessed dataset with --tuned, got masks; leave it out")
    return MaskSource(predicted, reference, options, compute)


@dataclass(frozen=True)
class _Judged:
    """The result of a case: its scores, or the error, with the traceback if it was unexpected."""

    name: str
    score: CaseScore | None = None
    error: str | None = None
    traceback: str | None = None


@dataclass(frozen=True)
class _Judging:
    """The task of scoring cases by name, as sent to worker processes.

    Attributes:
        predicted: As for `evaluate`, like the next three.
        reference: Likewise.
        options: Likewise.
        compute: Likewise.
        scoring: How structures are scored.
        source: The opened source; it is not pickled, each process opens it anew.
    """

    predicted: Path
    reference: Path
    options: EvaluateOptions
    compute: Compute
    scoring: Scoring
    source: ModelSource | MaskSource | None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "source": None}

    @property
    def about(self) -> dict[str, Any]:
        """The settings that every score depends on."""
        return {"tomoseg": __version__}

    def open(self) -> _Judging:
        """Return a copy with the source opened."""
        if self.source is not None:
            return self
        return replace(self, source=_source(self.predicted, self.reference, self.options, self.compute))

    def divided(self, workers: int) -> _Judging:
        """Return a copy with this worker's share of the memory."""
        return replace(self, compute=self.compute.divided(workers))

    def all(self, names: Sequence[str], tell: Tell) -> Iterator[_Judged]:
        """Score one case after the other."""
        return map(self.one, names)

    def one(self, name: str) -> _Judged:
        """Score a case.

        Raises:
            ConfigError: If the options do not fit any case.
            DatasetError: If the dataset cannot be scored on.
            ModelError: If the model cannot be run.
        """
        assert self.source is not None  # opened by `open`
        try:
            return _Judged(name, self.source.score(name, self.scoring))
        except (ConfigError, DatasetError, ModelError):  # not of this case alone
            raise
        except TomosegError as error:
            return _Judged(name, error=str(error))
        except Exception as error:  # one bad case stops no other
            if told := refusal(error):
                return _Judged(name, error=told)
            told = (
                f"expected no internal error, got {type(error).__name__}: {error}; please report it, with its "
                f"traceback in {SUMMARY} of --output"
            )
            return _Judged(name, error=told, traceback="".join(traceback.format_exception(error)))

    def lost(self, name: str, reason: str) -> _Judged:
        """Return the result of a case whose workers died."""
        return _Judged(name, error=reason)


def _score_all(
    work: _Judging, names: Sequence[str], on_case: OnCase, folders: Folders
) -> tuple[list[CaseScore], dict[str, str], dict[str, str]]:
    """Return the scores, the errors of failed cases, and tracebacks of unexpected errors, by name.

    Raises:
        ConfigError: If the options do not fit any case.
        DatasetError: If the dataset cannot be scored on.
        ModelError: If the model cannot be run.
    """
    found: dict[int, _Judged] = {}
    for number, judged in run_cases(work, names, work.options, folders=folders):
        found[number] = judged
        on_case(len(found), len(names))
    done = [found[number] for number in sorted(found)]
    scores = [one.score for one in done if one.score is not None]
    failed = {one.name: one.error for one in done if one.error is not None}
    return scores, failed, {one.name: one.traceback for one in done if one.traceback is not None}


def scoring_of(options: EvaluateOptions, labels: LabelSet) -> Scoring:
    """Return the scoring settings of structures.

    Args:
        options: The requested options.
        labels: The structures to score.

    Raises:
        ConfigError: If the file of tolerances lacks a structure or holds no tolerance.
        InputError: If that file cannot be read.
    """
    tolerances = None if options.tolerances is None else _read_tolerances(options.tolerances, labels.names)
    also = tuple(name for name in dict.fromkeys(options.metrics) if not METRICS[name].by_default)
    groups = {structure.name: structure.group for structure in labels}
    return Scoring(options.tolerance_mm, tolerances, options.surfaces, EMPTIES[options.empties], also, groups)


def _how(predicted: Path, reference: Path, split: str, options: EvaluateOptions, scoring: Scoring) -> dict[str, Any]:
    """Return the settings that scores depend on, for their record."""
    return {
        "tomoseg": __version__,
        "predicted": str(predicted),
        "reference": str(reference),
        "split": split,
        "tuned": options.tuned,
        "resample": options.resample,
        "surfaces": options.surfaces,
        "tolerance_mm": scoring.tolerance_mm,
        "tolerances_mm": None if scoring.tolerances_mm is None else dict(scoring.tolerances_mm),
        "empties": options.empties,
        **({"metrics": list(scoring.also)} if scoring.also else {}),
    }


def _scored_otherwise(against: Path, options: EvaluateOptions, scoring: Scoring) -> tuple[str, ...]:
    """Return a sentence for each setting that differs from that of other scores, if theirs are known."""
    try:
        how = json.loads(((against if against.is_dir() else against.parent) / SUMMARY).read_text(encoding="utf-8"))[
            "how"
        ]
        was = {
            "tolerance": how["tolerance_mm"],
            "empties": how["empties"],
            "tolerances": _tolerances_text(how["tolerances_mm"], scoring.tolerances_mm),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()
    now = {
        "tolerance": options.tolerance_mm,
        "empties": options.empties,
        "tolerances": _tolerances_text(scoring.tolerances_mm, how["tolerances_mm"]),
    }
    return tuple(
        (
            f"{against} was scored with {name} {was[name]}, these with {now[name]}: metrics that depend on it "
            "cannot be compared; score one of them again"
        )
        for name in now
        if was[name] != now[name]
    )


def _tolerances_text(mine: Mapping[str, float] | None, other: Mapping[str, float] | None) -> str:
    """Return as text the tolerances that differ from the other's."""
    if mine is None or other is None:
        return "none of single structures" if mine is None else "of single structures"
    unlike = [f"{name} {value:g} mm" for name, value in mine.items() if name in other and other[name] != value]
    return ", ".join(unlike[:6])


def _read_tolerances(path: Path, names: Sequence[str]) -> Mapping[str, float]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected a YAML file, got {yaml_mistake(error)}; check it") from None
    if not (isinstance(found, dict) and all(map(_is_tolerance, found.values()))):
        raise ConfigError(f"{path}: expected lines such as 'liver: 3', in mm, got {str(found)[:80]!r}; correct it")
    if lacking := [name for name in names if name not in found]:
        raise ConfigError(
            f"{path}: expected a tolerance for each of {len(names)} structures, got none for "
            f"{', '.join(lacking[:8])}{', ...' if len(lacking) > 8 else ''}; add them, or score fewer with --structures"
        )
    return {str(name): float(value) for name, value in found.items()}


def _is_tolerance(value: object) -> bool:
    return isinstance(value, int | float) and value >= 0


def _page(
    evaluation: Evaluation, source: ModelSource | MaskSource, scoring: Scoring, options: EvaluateOptions
) -> ScorePage:
    other = None if options.against is None else options.against.absolute().name
    course = next((path for path in source.courses if path.is_file()), None)
    return ScorePage(
        source.title,
        source.reference,
        evaluation.labels,
        evaluation.summary,
        evaluation.scores,
        scoring.tolerance_mm if scoring.tolerances_mm is None else None,
        options.empties,
        worst_of(evaluation.scores, LISTED),
        evaluation.pictures,
        None if other is None or evaluation.comparison is None else (other, evaluation.comparison),
        evaluation.failed,
        evaluation.warnings,
        () if course is None else _read_course(course),
        evaluation.gathered,
        evaluation.ranking,
        [(case, file.name) for case, file in evaluation.pages],
    )


def _read_course(path: Path) -> Sequence[Mapping[str, Any]]:
    from tomoseg.pictures.history import read_metrics  # imports Matplotlib

    return read_metrics(path)


def worst_of(scores: Sequence[CaseScore], count: int, *, each_once: bool = False) -> list[tuple[str, StructureScore]]:
    """Return the cases and structure scores of lowest Dice, the lowest first.

    Args:
        scores: One entry per case.
        count: Maximum number of scores.
        each_once: Whether to list each structure at most once.
    """
    rows = [(case.case, s) for case in scores for s in case.structures if s.dice is not None and s.reference_ml]
    rows.sort(key=lambda row: (row[1].dice, *row[:1]))
    if each_once:
        first = {score.structure: (case, score) for case, score in reversed(rows)}
        rows = [row for row in rows if first[row[1].structure] == row]
    return rows[:count]


def _draw_worst(
    source: ModelSource | MaskSource, scores: Sequence[CaseScore], options: EvaluateOptions, output: Path
) -> tuple[list[tuple[str, str, Path]], list[str]]:
    """Draw the pictures; return them and a sentence for each that failed, since scores are kept without them."""
    drawn, undrawn = [], []
    for case, score in worst_of(scores, options.panels, each_once=True):
        path = output / fitting(f"{case}_{score.structure}", ".png")
        try:
            source.draw(case, score.structure, path, options)
            drawn.append((case, score.structure, path))
        except (InputError, GridError) as error:
            undrawn.append(f"{case} {score.structure} was not drawn: {error}")
    return drawn, undrawn


def worst_cases(scores: Sequence[CaseScore], count: int) -> list[str]:
    """Return the names of the cases of lowest mean Dice over their scored structures, the lowest first.

    Args:
        scores: One entry per case.
        count: Maximum number of cases.
    """
    known = {case.case: [s.dice for s in case.structures if s.dice is not None] for case in scores}
    means = {name: sum(dice) / len(dice) for name, dice in known.items() if dice}
    return sorted(means, key=lambda name: (means[name], name))[:count]


def _write_pages(
    source: ModelSource | MaskSource, scores: Sequence[CaseScore], options: EvaluateOptions, output: Path
) -> tuple[list[tuple[str, Path]], list[str]]:
    """Write the 3D pages; return them and a sentence for each that failed."""
    written, unwritten = [], []
    for case in worst_cases(scores, options.pages_3d):
        path = output / fitting(f"{case}_3d", ".html")
        try:
            source.page(case, path, options)
            written.append((case, path))
        except (InputError, GridError) as error:
            unwritten.append(f"{case} has no page in 3D: {error}")
    return written, unwritten


def write_evaluation(evaluation: Evaluation, folder: Path, how: Mapping[str, Any]) -> None:
    """Write `scores.csv` (a row per case and structure), `ranking.csv` (a row per structure) and `summary.json`.

    Args:
        evaluation: The evaluation to write.
        folder: Output folder; created if missing.
        how: The settings that the scores depend on.
    """
    write_scores(evaluation.scores, folder / SCORES)
    write_ranking(evaluation.ranking, folder / RANKING)
    record = (
        {"how": how}
        | asdict(evaluation.summary)
        | {
            "spacing_mm": {case.case: case.spacing_mm for case in evaluation.scores},
            "failed": evaluation.failed,
            **({"tracebacks": evaluation.tracebacks} if evaluation.tracebacks else {}),
            "warnings": evaluation.warnings,
            "noticed": {case: [notice.as_dict() for notice in told] for case, told in evaluation.noticed.items()},
            "ranking": asdict(evaluation.ranking),
            "comparison": None
            if evaluation.comparison is None
            else asdict(evaluation.comparison) | {"dice_p_corrected": evaluation.comparison.corrected_p()},
        }
    )
    write_whole_text(folder / SUMMARY, json.dumps(record, indent=1))

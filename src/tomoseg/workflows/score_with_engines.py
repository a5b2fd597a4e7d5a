"""Scores of a model's engines and precisions on the cases of a dataset, here or distributed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomoseg.cases.folders import Folders
from tomoseg.cases.run import run_cases
from tomoseg.cases.work import Tell
from tomoseg.errors import ConfigError
from tomoseg.evaluation.scores import CaseScore
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import score_case
from tomoseg.inference.segment import predictor_of
from tomoseg.models.folder import Model, load_model
from tomoseg.options import Compute, EngineName, Precision, Spread
from tomoseg.preprocessed.read import PreprocessedCase
from tomoseg.version import __version__

EngineChoice = tuple[EngineName, Precision]
Order = tuple[EngineChoice, PreprocessedCase]
"""An engine choice, and the case to score it on."""


def predictor_in(model: Model, asked: EngineChoice) -> Predictor:
    """Return a predictor with one engine and precision on the CPU, where engines are compared.

    Args:
        model: The loaded model.
        asked: Engine and precision.
    """
    engine, precision = asked
    return predictor_of(model, Compute(engine=engine, device="cpu", precision=precision))


def score_with_engines(
    model: Path,
    known: Sequence[EngineChoice],
    cases: Sequence[PreprocessedCase],
    spread: Spread,
    on_case: Callable[[int, int, int], None],
) -> list[list[CaseScore]]:
    """Score every engine choice on every case; return a list per choice, in the order of the cases.

    Args:
        model: The model folder.
        known: The engine choices.
        cases: The cases of a dataset, with the model's structures.
        spread: How cases are distributed to processes and machines.
        on_case: Called with the number of an engine choice, the number of its cases done and their total number.

    Raises:
        ConfigError: If the workers of a case died.
    """
    orders = [(asked, case) for asked in known for case in cases]
    found: dict[int, CaseScore] = {}
    done = [0] * len(known)
    folders = Folders((model, *(case.folder for case in cases[:1])), model)
    for number, scored in run_cases(_Scoring(model), orders, spread, folders=folders):
        if isinstance(scored, str):
            raise ConfigError(scored)
        found[number], way = scored, number // len(cases)
        done[way] += 1
        on_case(way, done[way], len(cases))
    return [[found[way * len(cases) + k] for k in range(len(cases))] for way in range(len(known))]


@dataclass(frozen=True)
class _Scoring:
    """The task of scoring cases, as sent to worker processes."""

    model: Path

    def open(self) -> _Opened:
        return _Opened(self.model)

    def divided(self, workers: int) -> _Scoring:
        return self

    def lost(self, order: Order, reason: str) -> str:
        return f"{order[1].name}: {reason}"


class _Opened:
    """The opened model, with one engine choice at a time."""

    def __init__(self, model: Path) -> None:
        self._model = load_model(model)
        self._way: EngineChoice | None = None
        self._predictor: Predictor | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        return {"tomoseg": __version__}

    def one(self, order: Order) -> CaseScore | str:
        asked, case = order
        if self._way != asked or self._predictor is None:
            self._way, self._predictor = asked, predictor_in(self._model, asked)
        return score_case(self._predictor, case)

    def all(self, orders: Sequence[Order], tell: Tell) -> Iterator[CaseScore | str]:
        return map(self.one, orders)

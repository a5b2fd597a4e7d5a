"""Files of a cross-validation run, beside its folds' own run folders.

RUN/
  folds.json            number of folds, and the fold that each case is held out of
  config.yaml           the settings as run
  fold-1/, fold-2/, ... one run folder each
  views.json            the folds' best models as one model, whose logits are averaged; once all are trained
  out-of-fold/CASE/     masks of each case, by the network that did not learn from its patient
  out-of-fold.json      SHA-256 of the weights that made them
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tomoseg.errors import ModelError
from tomoseg.files.atomic import whole_file

FOLDS, OUT_OF_FOLD, MADE = "folds.json", "out-of-fold", "out-of-fold.json"


@dataclass(frozen=True)
class Folds:
    """Assignment of cases to folds.

    Attributes:
        count: Number of folds.
        cases: The fold, from 1, that holds out each case, by the case's name.
    """

    count: int
    cases: dict[str, int]

    @property
    def numbers(self) -> range:
        """Fold numbers, from 1."""
        return range(1, self.count + 1)


def part_of(run: Path, fold: int) -> Path:
    """Return the run folder of a fold; folds are numbered from 1."""
    return run / f"fold-{fold}"


def save_folds(folds: Folds, run: Path) -> None:
    """Write the record of folds into a run folder.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(run / FOLDS) as aside:
        aside.write_text(json.dumps(asdict(folds), indent=1), encoding="utf-8")


def read_folds(run: Path) -> Folds | None:
    """Read the record of folds in a run folder; None if it is not a cross-validation run.

    Raises:
        ModelError: If the record cannot be read.
    """
    path = run / FOLDS
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = Folds(int(data["count"]), {str(name): int(fold) for name, fold in data["cases"].items()})
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: expected a record of folds, got: {error!r}; train into another folder") from None
    if found.count < 2 or not set(found.cases.values()) <= set(found.numbers):
        raise ModelError(f"{path}: expected the fold of each case, got others; train into another folder")
    return found

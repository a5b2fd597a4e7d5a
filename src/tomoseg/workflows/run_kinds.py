"""The kind of training run in a folder, finished or not."""

from __future__ import annotations

from pathlib import Path

from tomoseg.models.folder import VIEWS
from tomoseg.models.folds import FOLDS, part_of
from tomoseg.training.run_folder import CONFIG, LAST
from tomoseg.views import AXES

ONE, OF_FOLDS, OF_VIEWS = "one network", "folds", "views"


def kind_in(output: Path) -> str | None:
    """Return the kind of the run in a folder; None if none has begun.

    Args:
        output: The run folder; it need not exist.
    """
    if (output / LAST).exists():
        return ONE
    if (output / FOLDS).exists():
        return OF_FOLDS
    return OF_VIEWS if (output / VIEWS).exists() or any((output / view / LAST).exists() for view in AXES) else None


def settings_in(output: Path) -> Path | None:
    """Return the path of a run's settings; None if training has not begun.

    A run of several networks has settings of its own, written once the first network has ended or was stopped; before
    that, they are those of that network.

    Args:
        output: The run folder; it need not exist.
    """
    parts = (output, part_of(output, 1), *(output / view for view in AXES))
    begun = [part / CONFIG for part in parts if (part / CONFIG).is_file() and (part / LAST).is_file()]
    own = output / CONFIG
    return None if not begun else own if own.is_file() else begun[0]

"""What kind of training run a folder holds, finished or not."""

from __future__ import annotations

from pathlib import Path

from tomoseg.models.folder import VIEWS
from tomoseg.models.folds import FOLDS, part_of
from tomoseg.training.run_folder import CONFIG, LAST
from tomoseg.views import AXES

ONE, OF_FOLDS, OF_VIEWS = "one network", "folds", "views"


def kind_in(output: Path) -> str | None:
    """The kind of the run in a folder; None where none has begun.

    Args:
        output: The run folder, there or not.
    """
    if (output / LAST).exists():
        return ONE
    if (output / FOLDS).exists():
        return OF_FOLDS
    return OF_VIEWS if (output / VIEWS).exists() or any((output / view / LAST).exists() for view in AXES) else None


def settings_in(output: Path) -> Path | None:
    """The file of a run's settings; None where nothing has been learned with any yet.

    Of a run of several networks they are its own, which are written once the first of these has ended or was stopped;
    before that the settings of that network.

    Args:
        output: The run folder, there or not.
    """
    parts = (output, part_of(output, 1), *(output / view for view in AXES))
    begun = [part / CONFIG for part in parts if (part / CONFIG).is_file() and (part / LAST).is_file()]
    own = output / CONFIG
    return None if not begun else own if own.is_file() else begun[0]

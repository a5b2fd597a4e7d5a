"""Where one output format goes, and what it may say of the scan and the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.notices import Notice
from tomoseg.volume import SourceGrid

if TYPE_CHECKING:
    from tomoseg.files.dicom.source import SourceSeries  # imports pydicom


class Origin:
    """The scan that results belong to; all DICOM results of it take over the same patient, study and slices.

    Args:
        grid: The scan's grid.
        name: What to call the scan in messages.
    """

    def __init__(self, grid: SourceGrid, name: str) -> None:
        self._grid = grid
        self._name = name
        self._notices: tuple[Notice, ...] = ()

    @cached_property
    def series(self) -> SourceSeries:
        """What DICOM results take over, made when it is first asked for."""
        from tomoseg.files.dicom.source import source_series

        series = source_series(self._grid, self._name)
        self._notices = series.notices
        return series

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What had to be made up so far."""
        return self._notices


@dataclass(frozen=True)
class Target:
    """Where one format goes.

    Attributes:
        path: The file, or for several files their folder.
        origin: The scan.
        made_by: What is said of the algorithm.
    """

    path: Path
    origin: Origin = field(repr=False)
    made_by: MadeBy

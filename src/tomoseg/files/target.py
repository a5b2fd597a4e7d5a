"""Target of an output format, with the scan and the model that the result refers to."""

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
    """The scan that results belong to; all DICOM results of it refer to the same patient, study and slices.

    Args:
        grid: The scan's grid.
        name: Name of the scan in messages.
    """

    def __init__(self, grid: SourceGrid, name: str) -> None:
        self._grid = grid
        self._name = name
        self._notices: tuple[Notice, ...] = ()

    @cached_property
    def series(self) -> SourceSeries:
        """The series that DICOM results refer to, made when it is first requested."""
        from tomoseg.files.dicom.source import source_series

        series = source_series(self._grid, self._name)
        self._notices = series.notices
        return series

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Notices of values that were generated for DICOM results so far."""
        return self._notices


@dataclass(frozen=True)
class Target:
    """The target of one format.

    Attributes:
        path: The file, or for several files their folder.
        origin: The scan.
        made_by: The algorithm that made the result.
    """

    path: Path
    origin: Origin = field(repr=False)
    made_by: MadeBy

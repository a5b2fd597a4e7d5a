"""Scans without masks: what int8 takes its scales from, and where engines are compared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tomoseg.errors import InputError, TomosegError
from tomoseg.files.no_scan import refuse_known
from tomoseg.files.scan import read_scan
from tomoseg.volume import Volume
from tomoseg.workflows.scans import FoundScans, find_scans

NOWHERE = Path(os.devnull)
"""Nothing is written for a scan."""

OTHERWISE = "leave it out"


class Unlabelled:
    """Scans of a place, read one at a time; which cannot be read is kept with the reason.

    Attributes:
        found: The scans, and what is left out.
        failed: Why a scan could not be read, by its name.

    Args:
        place: Whatever `tomoseg predict` takes for scans: a file, a folder, a pattern or a list.

    Raises:
        InputError: If there is no scan.
    """

    def __init__(self, place: Path) -> None:
        self.found: FoundScans = find_scans(place, NOWHERE, label_map=False)
        self.failed: dict[str, str] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self.found.scans)

    def some(self, most: int) -> Iterator[tuple[str, Volume]]:
        """Up to so many of them, evenly spread over all, with their names.

        Args:
            most: How many.

        Raises:
            InputError: After the last, if none could be read.
        """
        count = min(most, len(self))
        chosen = [self.found.scans[k] for k in np.linspace(0, len(self) - 1, count).round().astype(int)]
        given = 0
        for scan in chosen:
            if scan.name in self.failed:
                continue
            try:
                source = scan.source()
                refuse_known(source, scan.path, OTHERWISE)
                volume = read_scan(source)
            except TomosegError as error:
                self.failed[scan.name] = str(error)
                continue
            given += 1
            yield scan.name, volume
        if not given:
            reason = next(iter(self.failed.values()))
            raise InputError(f"{self.found.place}: expected a scan that can be read, got none of {count}: {reason}")

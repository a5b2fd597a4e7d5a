"""Scans without masks, for calibrating int8 and comparing engines."""

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
"""Placeholder for the output of a scan, since nothing is written."""

OTHERWISE = "leave it out"


class Unlabelled:
    """Scans at a place, read one at a time; errors of unreadable ones are kept.

    Attributes:
        found: The scans, and files left out.
        failed: Errors of unreadable scans, by name.

    Args:
        place: Scans as for `tomoseg predict`: a file, a folder, a pattern or a list.

    Raises:
        InputError: If there is no scan.
    """

    def __init__(self, place: Path) -> None:
        self.found: FoundScans = find_scans(place, NOWHERE, label_map=False)
        self.failed: dict[str, str] = {}

    def __len__(self) -> int:
        """Return the number of scans."""
        return len(self.found.scans)

    def some(self, most: int) -> Iterator[tuple[str, Volume]]:
        """Yield name and volume of up to `most` scans, evenly spread over all.

        Args:
            most: Maximum number of scans.

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

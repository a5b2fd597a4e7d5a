"""An upload looked at before it waits for a model: what it is, whether it can be read, which scans are in it."""

from __future__ import annotations

from pathlib import Path

from tomoseg.errors import InputError, counted
from tomoseg.files.dicom.read import series_in
from tomoseg.files.no_scan import refuse_known
from tomoseg.files.scan import first_values, look
from tomoseg.options import PredictOptions
from tomoseg.server.records import ListedSeries

FEWEST_SLICES = 5
"""A series of fewer is not what anybody means beside a larger one: scouts, reference lines, single captures."""

FORCED = "the option `force`"


class SeveralError(InputError):
    """An upload that holds several scans, of which one is to be chosen.

    Attributes:
        choices: Which there are.

    Args:
        message: One sentence.
        choices: Which there are.
    """

    def __init__(self, message: str, choices: list[ListedSeries]) -> None:
        super().__init__(message)
        self.choices = choices


def look_at(scan: Path, options: PredictOptions) -> None:
    """Refuse what cannot be segmented, as far as headers and first values say.

    Args:
        scan: A file or a folder of an upload.
        options: The requested options.

    Raises:
        InputError: If it is no scan, or damaged at its beginning.
        SeveralError: If it holds several scans and none is asked for.
        GridError: If its geometry is not known.
    """
    source = look(scan)
    if not options.force:
        refuse_known(source, scan, FORCED)
    if not source.is_dicom:
        if options.assume_spacing is None:
            first_values(source)
        return
    stacks = series_in(source)
    meant = [number for number, stack in enumerate(stacks, start=1) if len(stack.images) >= FEWEST_SLICES]
    if options.series is None and len(meant) > 1:
        listed = [ListedSeries(series=number, text=str(stacks[number - 1])) for number in meant]
        raise SeveralError(
            f"expected one scan, got {counted(len(meant), 'series', 'series')}; choose one with the option `series`",
            listed,
        )

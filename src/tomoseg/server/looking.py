"""Check of an upload before it is queued: its kind, whether it can be read, and the scans in it."""

from __future__ import annotations

from pathlib import Path

from tomoseg.errors import InputError, counted
from tomoseg.files.dicom.read import series_in
from tomoseg.files.dicom.series import Stack
from tomoseg.files.no_scan import refuse_known
from tomoseg.files.scan import first_values, look
from tomoseg.options import PredictOptions
from tomoseg.server.records import ListedSeries

FEWEST_SLICES = 5
"""Slices below which a series is ignored beside a larger one: scouts, reference lines, screen captures."""

FORCED = "the option `force`"


class SeveralError(InputError):
    """An upload that contains several scans, of which one has to be chosen.

    Attributes:
        choices: The scans.

    Args:
        message: One sentence.
        choices: The scans.
    """

    def __init__(self, message: str, choices: list[ListedSeries]) -> None:
        super().__init__(message)
        self.choices = choices


def look_at(scan: Path, options: PredictOptions) -> None:
    """Refuse uploads that cannot be segmented, as far as headers and first values show.

    Args:
        scan: A file or a folder of an upload.
        options: The requested options.

    Raises:
        InputError: If it is not a scan, or damaged at its beginning.
        SeveralError: If it contains several scans and none is chosen.
        GridError: If its geometry is unknown.
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
        listed = [_listed(number, stacks[number - 1]) for number in meant]
        raise SeveralError(
            f"expected one scan, got {counted(len(meant), 'series', 'series')}; choose one with the option `series`",
            listed,
        )


def _listed(number: int, stack: Stack) -> ListedSeries:
    return ListedSeries(series=number, text=str(stack), text_fr=stack.described("fr"))

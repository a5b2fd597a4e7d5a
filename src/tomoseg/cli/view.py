"""`tomoseg view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import MaybeOutput
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.options import AS_SEEN, ViewOptions


def view(
    place: Annotated[Positional[Path], arg(metavar="CT")],
    masks: Positional[tuple[Path, ...]] = (),
    *,
    against: Path | None = None,
    corrections: MaybeOutput = None,
    config: Path | None = None,
    options: Annotated[ViewOptions, arg(name="")] = AS_SEEN,
) -> int:
    """Look at a scan and its masks in the browser, and correct them.

    The page is served by this machine alone, loads nothing from elsewhere, and the command ends when it is closed.

    Args:
        place: A scan of any kind that predict reads; or the output folder of an evaluation of masks, or of predictions
            of many scans, whose cases are shown one after the other, the worst first.
        masks: Its masks: a folder or a file of all of them in any format that predict writes, or files of a mask each.
        against: Masks to compare them with, such as a reference.
        corrections: Folder of corrected masks and of verdicts; `corrections` beside the masks if omitted.
        config: YAML file of the options below; flags are put over it.
        options: How they are shown, and what may be written.
    """
    from tomoseg.files.outputs import check_folder
    from tomoseg.packages import require_installed
    from tomoseg.terminal.console import warn_all
    from tomoseg.workflows.results import check_formats
    from tomoseg.workflows.view import find_views

    require_installed("fastapi", "uvicorn")
    check_formats(options.format or ("nifti",))
    views = find_views(place, masks, against)
    folder = views.beside if corrections is None else corrections
    if not options.read_only and corrections is not None:
        check_folder(folder)

    from tomoseg.server.until_closed import run_until_closed
    from tomoseg.server.viewing import Viewing
    from tomoseg.terminal.viewing import show_address

    warn_all(views.left_out)
    run_until_closed(Viewing(views, options, folder), show_address)
    return SOME_FAILED if views.left_out else DONE

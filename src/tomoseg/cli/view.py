"""`tomoseg view`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import MaybeOutput
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.errors import InputError
from tomoseg.language.words import say
from tomoseg.options import AS_SEEN, ViewOptions
from tomoseg.terminal.rows import progress

if TYPE_CHECKING:
    from tomoseg.server.guests import Shown


def view(
    place: Annotated[Positional[Path], arg(metavar="CT")],
    masks: Positional[tuple[Path, ...]] = (),
    *,
    against: Path | None = None,
    corrections: MaybeOutput = None,
    save: Path | None = None,
    config: Path | None = None,
    options: Annotated[ViewOptions, arg(name="")] = AS_SEEN,
) -> int:
    """View a scan and its masks in the browser and correct them, or watch a training run.

    The page is served by this machine and loads nothing from elsewhere; the command ends when the page is closed.

    Args:
        place: A scan in any format that predict reads; the output folder of an evaluation of masks or of
            predictions of many scans, whose cases are shown one after the other, the worst first; or the run
            folder of a training, during or after it.
        masks: The scan's masks: a folder or a file with all of them in any format that predict writes, or one
            file per mask.
        against: Masks to compare with, such as a reference.
        corrections: Folder to write corrected masks and verdicts to; if omitted, a folder `corrections` next to
            the masks.
        save: HTML file: write the masks to it as a 3D page that needs no server, and exit. In this case the
            masks may be given without a scan.
        config: YAML file of the options below; flags override it.
        options: How the scan is shown, and what may be written.
    """
    if save is not None:
        return _save(place, masks, against, save, options, corrections)
    from tomoseg.files.outputs import check_folder
    from tomoseg.packages import require_installed
    from tomoseg.terminal.console import warn_all
    from tomoseg.workflows.results import check_formats
    from tomoseg.workflows.view import check_scan, find_views
    from tomoseg.workflows.watched_run import find_run

    require_installed("fastapi", "uvicorn")
    from tomoseg.server.run_viewing import RunViewing
    from tomoseg.server.viewing import Viewing

    check_formats(options.format or ("nifti",))
    run = find_run(place)
    if run is not None:
        _check_run_alone(masks, against, corrections, options)
        return _show(RunViewing(run, options))
    views = find_views(place, masks, against)
    check_scan(views, options)
    folder = views.beside if corrections is None else corrections
    if not options.read_only and corrections is not None:
        check_folder(folder)
    warn_all(views.left_out)
    _show(Viewing(views, options, folder))
    return SOME_FAILED if views.left_out else DONE


def _save(
    place: Path,
    masks: tuple[Path, ...],
    against: Path | None,
    path: Path,
    options: ViewOptions,
    corrections: Path | None,
) -> int:
    """Write a page instead of showing one.

    Raises:
        InputError: If an option is given that does not apply to it.
    """
    from tomoseg.terminal.viewing import show_saved

    of_showing = {"--corrections": corrections, "--format": options.format, "--reviewer": options.reviewer}
    if given := [name for name, value in of_showing.items() if value]:
        raise InputError(f"expected --save alone, got {', '.join(given)} with it; leave that out: nothing is corrected")
    with progress(say("draw")):
        from tomoseg.workflows.view_page import save_page

        size = save_page(place, masks, path, against=against, options=options)
    show_saved(path, size)
    return DONE


def _show(shown: Shown) -> int:
    from tomoseg.server.until_closed import run_until_closed
    from tomoseg.terminal.viewing import show_address

    run_until_closed(shown, partial(show_address, ends_with_page=shown.ends_with_page))
    return DONE


def _check_run_alone(
    masks: tuple[Path, ...], against: Path | None, corrections: Path | None, options: ViewOptions
) -> None:
    """Refuse arguments that do not apply to a run.

    Raises:
        InputError: If there are any.
    """
    given = {
        "masks": masks,
        "--against": against,
        "--corrections": corrections,
        "--series": options.series,
        "--assume-spacing": options.assume_spacing,
        "--format": options.format,
        "--reviewer": options.reviewer,
    }
    if names := [name for name, value in given.items() if value]:
        raise InputError(f"expected a run folder alone, got {', '.join(names)} with it; leave that out")

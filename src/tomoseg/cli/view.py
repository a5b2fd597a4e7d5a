"""`tomoseg view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.exits import DONE
from tomoseg.options import AS_SEEN, ViewOptions


def view(
    place: Annotated[Positional[Path], arg(metavar="CT")],
    masks: Positional[tuple[Path, ...]] = (),
    *,
    against: Path | None = None,
    options: Annotated[ViewOptions, arg(name="")] = AS_SEEN,
) -> int:
    """Look at a scan and its masks in the browser.

    The page is served by this machine alone, loads nothing from elsewhere, and the command ends when it is closed.

    Args:
        place: A scan of any kind that predict reads.
        masks: Its masks: a folder or a file of all of them in any format that predict writes, or files of a mask each.
        against: Masks to compare them with, such as a reference.
        options: How they are shown.
    """
    from tomoseg.packages import require_installed
    from tomoseg.workflows.view import find_views

    require_installed("fastapi", "uvicorn")
    views = find_views(place, masks, against)

    from tomoseg.server.until_closed import run_until_closed
    from tomoseg.server.viewing import Viewing
    from tomoseg.terminal.viewing import show_address

    run_until_closed(Viewing(views, options), show_address)
    return DONE

"""`tomoseg serve`: starting the server from the options of the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from tomoseg.hosts import is_loopback, listen, url_of
from tomoseg.options import Compute, ServeOptions
from tomoseg.packages import require_installed
from tomoseg.server.database import Database
from tomoseg.server.guard import has_token, make_token
from tomoseg.server.offers import in_words, offers_of, trained_in
from tomoseg.server.serving import Left, ServerSettings, check_own, locked, make_app, private_files, serve
from tomoseg.server.trainer import Learning
from tomoseg.server.uploads import Rules


@dataclass(frozen=True)
class Ready:
    """Information for the user once the server is ready.

    Attributes:
        url: URL of its page.
        folder: Folder of uploads, jobs and results.
        models: The offered models in words.
        token: The token, if it was created just now; it is shown only once.
        is_guarded: Whether a token is required.
        is_reachable: Whether other machines can reach it.
    """

    url: str
    folder: Path
    models: str
    token: str | None
    is_guarded: bool
    is_reachable: bool


def serve_until_stopped(
    models: Sequence[Path],
    folder: Path | None,
    options: ServeOptions,
    compute: Compute,
    learning: Learning,
    on_ready: Callable[[Ready], None],
) -> Left:
    """Serve until the process is told to stop, and return what is unfinished.

    Args:
        models: Folders or names of models, the default first.
        folder: Folder of uploads, jobs and results; None for one in the user's data folder.
        options: Address, access and limits.
        compute: Engine, device and precision of the networks.
        learning: Settings of training for clients.
        on_ready: Called once the server is ready.

    Raises:
        ConfigError: If the address or the folder is in use, or the database is of another version.
        DatasetError: If one of the datasets cannot be trained on.
        ModelError: If a model is missing.
        OutputError: If the folder cannot be written into.
    """
    place = (platformdirs.user_data_path("tomoseg") / "server" if folder is None else folder).absolute()
    offers = offers_of((*models, *trained_in(place)))
    if learning.datasets is not None:
        require_installed("torch")
        from tomoseg.server.training import check_learnable  # reads datasets, which a server does not else

        check_learnable(learning.datasets, learning.config)
    is_local = is_loopback(options.host)
    is_guarded = (options.token or options.new_token or not is_local) and not options.open_to_anybody
    with private_files(), listen(options.host, options.port) as listening, locked(place):
        check_own(place)
        made = _token(place, options.new_token) if is_guarded else None
        settings = ServerSettings(
            place,
            offers,
            rules_of(options),
            options.workers,
            compute.model_dump(mode="json", exclude_unset=True),
            is_guarded,
            only_loopback=is_local and not is_guarded,
            is_loud=options.show_workers,
            learning=learning,
            dicomweb=options.dicomweb,
        )
        port = listening.getsockname()[1]
        ready = Ready(url_of(options.host, port), place, in_words(offers), made, is_guarded, not is_local)
        return serve(make_app(settings), listening, lambda: on_ready(ready))


def rules_of(options: ServeOptions) -> Rules:
    """Return the limits of the server.

    Args:
        options: The requested options.
    """
    keep, job = options.keep_hours * 3600, options.job_minutes * 60
    return Rules(options.upload_size, options.quota, keep, job, options.job_memory)


def _token(folder: Path, new: bool) -> str | None:
    """Create a token if there is none, or a new one is requested, and return it; else None."""
    database = Database(folder)
    try:
        return make_token(database) if new or not has_token(database) else None
    finally:
        database.close()

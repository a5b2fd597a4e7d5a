"""`tomoseg serve`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from tomoseg.cli.exits import DONE
from tomoseg.language.words import say
from tomoseg.options import AS_SERVED, AUTO, DEFAULT_MODEL, Compute, ServeOptions
from tomoseg.terminal.rows import progress


def serve(
    model: tuple[Path, ...] = (Path(DEFAULT_MODEL), Path("head-neck")),
    folder: Annotated[Path | None, arg(aliases=("-o",))] = None,
    train_on: tuple[Path, ...] | None = None,
    train_config: Path | None = None,
    config: Path | None = None,
    options: Annotated[ServeOptions, arg(name="")] = AS_SERVED,
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Run a server that segments scans sent over HTTP, with pages for a browser.

    Args:
        model: Model folders, run folders, or names of packaged or fetched models; the first is used if a job
            names none.
        folder: Folder for scans, jobs and results, on a local disk; if omitted, a folder in your user data.
        train_on: Let clients start trainings, on the labels that they send together with these datasets; the
            list may be empty.
        train_config: YAML file of settings for these trainings, as for `tomoseg train --config`; if omitted,
            they are planned.
        config: YAML file of the options below; flags override it.
        options: Where the server listens, who may use it, and what it accepts and keeps.
        compute: The engine, device and precision that run the networks.
    """
    from tomoseg.packages import require_installed

    require_installed("fastapi", "uvicorn", "python_multipart")
    from tomoseg.server.command import Ready, serve_until_stopped
    from tomoseg.server.trainer import Learning
    from tomoseg.terminal.serving import show_ready, show_stopped

    starting = ExitStack()

    def on_ready(ready: Ready) -> None:
        starting.close()
        show_ready(ready.url, ready.folder, ready.models, ready.token, ready.is_guarded, ready.is_reachable)

    learning = Learning(train_on, options.train_minutes, train_config, compute.device)
    with starting:
        starting.enter_context(progress(say("loading the model")))
        left = serve_until_stopped(model, folder, options, compute, learning, on_ready)
    show_stopped(left.jobs, left.training)
    return DONE

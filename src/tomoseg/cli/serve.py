"""`tomoseg serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from tomoseg.cli.exits import DONE
from tomoseg.options import AS_SERVED, AUTO, DEFAULT_MODEL, Compute, ServeOptions


def serve(
    model: tuple[Path, ...] = (Path(DEFAULT_MODEL), Path("head-neck")),
    folder: Annotated[Path | None, arg(aliases=("-o",))] = None,
    train_on: tuple[Path, ...] | None = None,
    train_config: Path | None = None,
    config: Path | None = None,
    options: Annotated[ServeOptions, arg(name="")] = AS_SERVED,
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Take scans over HTTP, segment them one after the other, and give results back; with pages for a browser.

    Args:
        model: Model folders, run folders or names of packaged or fetched models, of which the first is taken where a
            job names none.
        folder: Where scans, jobs and results lie, on a disk of this machine; if omitted, a folder of the user's.
        train_on: Let clients start trainings, which learn from the labels that they send and from these datasets, of
            which there may be none.
        train_config: YAML file of settings of these trainings, as `tomoseg train` takes it; if omitted, planned ones.
        config: YAML file of the options below; flags are put over it.
        options: Where it listens, who may ask, and what it takes and keeps.
        compute: What computes the networks, where, and in what.
    """
    from tomoseg.packages import require_installed

    require_installed("fastapi", "uvicorn", "python_multipart")
    from tomoseg.server.command import Ready, serve_until_stopped
    from tomoseg.server.trainer import Learning
    from tomoseg.terminal.serving import show_ready

    def on_ready(ready: Ready) -> None:
        show_ready(ready.url, ready.folder, ready.models, ready.token, ready.is_guarded, ready.is_reachable)

    learning = Learning(train_on, options.train_minutes, train_config, compute.device)
    serve_until_stopped(model, folder, options, compute, learning, on_ready)
    return DONE

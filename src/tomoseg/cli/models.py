"""`tomoseg models`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from tomoseg.cli.exits import DONE


def models(model: Positional[Path | None] = None) -> int:
    """List the available models, or describe one model or training run.

    Models that come with the package work without a download; models downloaded with `tomoseg fetch` are listed too.
    `tomoseg predict --model` takes the names of both, unless a folder of that name exists.

    Args:
        model: Name of a packaged or fetched model, a model folder or a run folder: prints what it was trained
            on, how well it scores and, for a packaged model, what it must not be used for. If omitted, all
            named models are listed.
    """
    from tomoseg.terminal.models import show_model, show_models
    from tomoseg.workflows.models import described, fetched
    from tomoseg.workflows.models import models as packaged

    if model is None:
        show_models(packaged(), fetched())
    else:
        show_model(described(model))
    return DONE

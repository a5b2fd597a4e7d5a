"""`tomoseg models`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from tomoseg.cli.exits import DONE


def models(model: Positional[Path | None] = None) -> int:
    """List the models that come with the package, or print what is known of one, or of a run.

    They work without a download: --model of predict takes their names where there is no folder of that name, and those
    of models that `tomoseg fetch` has fetched, which are listed too.

    Args:
        model: A packaged or fetched model's name, a model folder or a run folder: what it was made from, how good it
            is and, of a packaged one, where it must not be used; all that have names are listed if omitted.
    """
    from tomoseg.terminal.models import show_model, show_models
    from tomoseg.workflows.models import described, fetched
    from tomoseg.workflows.models import models as packaged

    if model is None:
        show_models(packaged(), fetched())
    else:
        show_model(described(model))
    return DONE

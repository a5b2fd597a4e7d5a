"""`tomoseg models`."""

from __future__ import annotations

from tyro.conf import Positional

from tomoseg.cli.exits import DONE
from tomoseg.terminal import console


def models(name: Positional[str | None] = None) -> int:
    """List the models that come with the package, or print the card of one.

    They work without a download: --model of predict takes their names where there is no folder of that name.

    Args:
        name: Whose card to print: what it was made from, how good it is, where it must not be used; all are listed if
            omitted.
    """
    from tomoseg.terminal.models import show_models
    from tomoseg.workflows.models import card_of
    from tomoseg.workflows.models import models as packaged

    if name is None:
        show_models(packaged())
    else:
        console.out.print(card_of(name))
    return DONE

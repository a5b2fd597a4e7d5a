"""`tomoseg fetch`."""

from __future__ import annotations

from tyro.conf import Positional

from tomoseg.cli.exits import DONE
from tomoseg.terminal import console


def fetch(
    task: Positional[str | None] = None, *, again: bool = False, url: str | None = None, allow_http: bool = False
) -> int:
    """Fetch a published model, such as those of TotalSegmentator, and make it a model of ours.

    It comes from where its makers put it, and lies in your data folder; `tomoseg predict -m TASK` finds it. The same
    command goes on where it was. Importing takes PyTorch.

    Args:
        task: Such as total-3mm: 117 structures by one network (135 MB); all are listed if omitted.
        again: Fetch it also if it is there already, and compare it with what it was; what changed is refused.
        url: Another place of the same releases, for example a mirror of your hospital's.
        allow_http: Also speak plain http, which anybody on the way can read and change; if omitted, only with this
            machine itself.
    """
    from tomoseg.datasets.download.http import Web
    from tomoseg.terminal.fetching import show_fetched, show_tasks, watch_fetching
    from tomoseg.workflows.fetch_model import fetch_model

    if task is None:
        show_tasks()
        return DONE
    web = Web(allow_http=allow_http, on_wait=lambda message: console.warn_all([message]))
    with watch_fetching() as (on_bytes, on_step):
        found = fetch_model(task, again=again, url=url, web=web, on_bytes=on_bytes, on_step=on_step)
    show_fetched(found)
    return DONE

"""`tomoseg fetch`."""

from __future__ import annotations

from tyro.conf import Positional

from tomoseg.cli.exits import DONE
from tomoseg.terminal import console


def fetch(
    task: Positional[str | None] = None, *, again: bool = False, url: str | None = None, allow_http: bool = False
) -> int:
    """Download a published model, such as those of TotalSegmentator, and convert it to a tomoseg model.

    It is downloaded from its authors' server into your data folder, where `tomoseg predict -m TASK` finds it. After an
    interruption, the same command continues where it stopped. The conversion needs PyTorch.

    Args:
        task: Name of the model, such as total-3mm (117 structures by one network, 135 MB); if omitted, all are
            listed.
        again: Download it again even if it is already there, and refuse it if it has changed.
        url: URL of a mirror of the same releases, for example one in your hospital.
        allow_http: Also allow plain http, which anyone on the network path can read and change; if omitted, http is
            allowed only for this machine itself.
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

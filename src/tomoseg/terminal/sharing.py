"""How far workers are that share scans, in the terminal."""

from __future__ import annotations

from tomoseg.errors import counted
from tomoseg.terminal.console import fail, out, table
from tomoseg.terminal.rows import hours
from tomoseg.workflows.sharing import Status

MOST_LISTED = 40
"""Scans that somebody is at."""


def show_status(found: Status) -> None:
    """Counts, the rate, who is at what, and what failed."""
    words = [f"{found.done} done", f"{len(found.failed)} failed", f"{len(found.at_work)} at work"]
    out.print(f"{counted(found.scans, 'scan')}: {', '.join(words)}, {found.waiting} waiting")
    if found.per_hour is not None:
        left = "" if found.seconds_left is None else f", {hours(found.seconds_left)} left"
        out.print(f"{found.per_hour:.1f} scans an hour{left}")
    if found.at_work:
        rows = [(one.scan, one.host, one.pid, one.tries) for one in found.at_work[:MOST_LISTED]]
        table("At work", ("scan", "machine", "process", "try"), rows)
    if len(found.at_work) > MOST_LISTED:
        out.print(f"and {len(found.at_work) - MOST_LISTED} more: --json lists all")
    fail(found.failed)

"""How far workers are that share scans, in the terminal."""

from __future__ import annotations

from tomoseg.language.words import pointed, say, say_many
from tomoseg.terminal.console import fail, out, table
from tomoseg.terminal.rows import hours
from tomoseg.workflows.sharing import Status

MOST_LISTED = 40
"""Scans that somebody is at."""


def show_status(found: Status) -> None:
    """Counts, the rate, who is at what, and what failed."""
    out.print(
        say_many(
            found.scans,
            "1 scan: {done} done, {failed} failed, {at_work} in progress, {waiting} waiting",
            "{count} scans: {done} done, {failed} failed, {at_work} in progress, {waiting} waiting",
            done=found.done,
            failed=len(found.failed),
            at_work=len(found.at_work),
            waiting=found.waiting,
        )
    )
    if found.per_hour is not None:
        left = "" if found.seconds_left is None else say(", {time} left", time=hours(found.seconds_left))
        out.print(say("{rate} scans an hour", rate=pointed(f"{found.per_hour:.1f}")) + left)
    if found.at_work:
        rows = [(one.scan, one.host, one.pid, one.tries) for one in found.at_work[:MOST_LISTED]]
        table(say("In progress"), (say("scan"), say("machine"), say("process"), say("try")), rows)
    if len(found.at_work) > MOST_LISTED:
        out.print(say("and {count} more; --json lists all of them", count=len(found.at_work) - MOST_LISTED))
    fail(found.failed)

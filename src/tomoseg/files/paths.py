"""Names that come from files and archives, and may not be trusted."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath


def climbs(name: str) -> bool:
    """Whether a name leads out of the place that it is given for, or is none, on any system."""
    return (
        not name
        or "\0" in name
        or any(
            kind(name).is_absolute() or kind(name).drive or kind(name).root or ".." in kind(name).parts
            for kind in (PurePosixPath, PureWindowsPath)
        )
    )

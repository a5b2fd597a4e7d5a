"""Two paths that exchange their names in one step, which Linux can on most file systems."""

from __future__ import annotations

import os
from pathlib import Path

_HERE = -100
"""`AT_FDCWD` of `fcntl.h`: relative paths start at the working folder."""

_EXCHANGE = 2
"""`RENAME_EXCHANGE` of `linux/fs.h`."""


def exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two files or folders of one file system; at no time is either name missing.

    Returns:
        False if nothing was done, since the system or the file system cannot, or one of them is missing.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a").mkdir()
        >>> exchanged(folder / "a", folder / "b"), [path.name for path in folder.iterdir()]
        (False, ['a'])
    """
    try:
        import ctypes  # some builds of Python lack it

        rename = ctypes.CDLL(None).renameat2
    except (ImportError, AttributeError, OSError, TypeError):
        return False
    return bool(rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)

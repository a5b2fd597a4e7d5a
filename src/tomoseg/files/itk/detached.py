"""Files of voxels beside an NRRD or MetaImage header, which belong to the scan of that header."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tomoseg.files.source import ScanSource, SourceFile

_HEADER_BYTES = 1 << 16
_DATA_FILE = re.compile(rb"^(?:data ?file|ElementDataFile)\s*[:=]\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)


def detached(source: ScanSource) -> Iterator[SourceFile]:
    """Yield the files of voxels named in the headers of a scan's files, unless they are among these.

    Files that are missing or cannot be read are left out, which reading the scan reports.

    Args:
        source: A scan of any kind; only NRRD and MetaImage have such files.

    Example:
        >>> from pathlib import Path
        >>> from tomoseg.files.scan import look
        >>> list(detached(look(Path("ct.nii.gz"))))
        []
    """
    if source.kind not in {"nrrd", "metaimage"}:
        return
    known = {file.path for file in source.files}
    for file in source.files:
        try:
            with file.path.open("rb") as stream:
                named = _DATA_FILE.search(stream.read(_HEADER_BYTES))
            beside = file.path if named is None else file.path.parent / named[1].decode("utf-8", "replace")
            if beside not in known and beside.is_file():
                yield SourceFile.at(beside)
        except (OSError, ValueError):
            continue

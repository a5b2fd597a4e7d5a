"""Process that reads an uploaded label map and its scan, and saves each structure as a correction."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tomoseg.datasets.corrections import Correction, latest
from tomoseg.errors import LabelError
from tomoseg.files.atomic import link_or_copy, whole_folder
from tomoseg.files.cohort import MASKS_FOLDER
from tomoseg.files.label_files import read_label_map
from tomoseg.files.label_names import label_set_named, structure_name, values_in
from tomoseg.files.scan import read_scan
from tomoseg.labels import LabelSet, Structure
from tomoseg.server.apart import answer
from tomoseg.server.keeping import CORRECTED, CORRECTIONS, Sent
from tomoseg.workflows.correct import save_correction


def save_sent(sent: Sent) -> list[Correction]:
    """Save each structure of a label map as the next version of its case, all or none.

    A structure with a name and no voxels counts as confirmed absent.

    Args:
        sent: The label map.

    Raises:
        GridError: If it lies on another grid than the scan.
        InputError: If one of the files cannot be read.
        LabelError: If a value has no name, or a name cannot be used.
        OutputError: If it cannot be written.
    """
    scan, folder = Path(sent.scan), Path(sent.folder)
    grid = read_scan(scan).source
    values = read_label_map(Path(sent.label), grid, "the image")
    named = {int(value): _structure(name) for value, name in sent.values.items() if int(value)}
    unknown = [value for value in values_in(values) if value and value not in named]
    if unknown:
        text = ", ".join(map(str, unknown[:6]))
        raise LabelError(f"label_info: expected a name for each value of the label map, got none for {text}; add it")
    versions = folder / CORRECTIONS / sent.case
    made = [save_correction(versions, one, values == value, grid, sent.who) for value, one in sorted(named.items())]
    _add_case(folder / CORRECTED / sent.case, scan, versions)
    return made


def _structure(name: str) -> Structure:
    used = structure_name(name, "label_info")
    total = LabelSet.total()
    return total[used] if used in total else label_set_named([used]).structures[0]


def _add_case(case: Path, scan: Path, versions: Path) -> None:
    """Write a case of the scan with the latest version of each structure."""
    with whole_folder(case, replace=True) as aside:
        masks = ((one.mask, f"{MASKS_FOLDER}/{one.mask.name}") for one in latest(versions).values())
        for file, name in (*_scan_files(scan), *masks):
            (aside / name).parent.mkdir(exist_ok=True)
            link_or_copy(file, aside / name)


def _scan_files(scan: Path) -> Iterator[tuple[Path, str]]:
    if scan.is_dir():
        yield from ((file, f"ct/{file.name}") for file in sorted(scan.iterdir()))
    else:
        ending = "".join(scan.suffixes)
        yield (scan, f"ct/{scan.name}" if ending == ".dcm" else f"ct{ending}")


def main(argv: list[str]) -> None:
    """Save a label map, and print the saved structures, or the reason of failure, as JSON.

    Args:
        argv: The label map as JSON.
    """
    given = json.loads(argv[0])
    sent = Sent(**given | {"values": {int(value): name for value, name in given["values"].items()}})
    places = {sent.label: "the label map", sent.scan: "the image"}
    answer(lambda: {"kept": [one.structure for one in save_sent(sent)]}, places)


if __name__ == "__main__":
    main(sys.argv[1:])

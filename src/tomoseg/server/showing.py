"""Making a job's view for the page, from its scan and masks, in a worker."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tomoseg.files.atomic import whole_folder
from tomoseg.options import PredictOptions, ViewOptions
from tomoseg.server.corrections import FOLDER as CORRECTIONS
from tomoseg.server.records import LABEL_MAP
from tomoseg.server.scene_answers import described, volume_answer
from tomoseg.workflows.view import find_views, open_scene


def write_view(scan: Path, result: Path, options: PredictOptions, folder: Path) -> None:
    """Write a view, completely or not at all.

    Args:
        scan: A file or a folder of an upload.
        result: The folder of its masks, beside which corrections are.
        options: The job's options.
        folder: Folder to write to.

    Raises:
        TomosegError: If it cannot be read, or there are no masks in a format that can be shown.
    """
    masks = result / LABEL_MAP if options.ml else result
    (case,) = find_views(scan, (masks,)).cases
    shown = ViewOptions(series=options.series, assume_spacing=options.assume_spacing)
    scene = open_scene(replace(case, name=CORRECTIONS), shown, result.parent)
    with whole_folder(folder) as aside:
        (aside / "case.json").write_text(json.dumps(described(scene, "scan", scan)), encoding="utf-8")
        (aside / "hu").write_bytes(bytes(volume_answer(scene.hu).body))
        (aside / "cells").write_bytes(bytes(volume_answer(scene.cells.values).body))

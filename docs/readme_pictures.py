"""Make the README's pictures, in English and in French, from a scan and from a folder of `tomoseg demo`.

.venv/bin/python docs/readme_pictures.py CT DEMO
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from tomoseg import LabelMap, Segmentation, Volume, draw_preview, read_labelled, read_scan, segment
from tomoseg.settings import Language

PICTURES = Path(__file__).resolve().parent / "pictures"
LANGUAGES: dict[Language, str] = {"en": "", "fr": "_fr"}
"""And what the names of their pictures end in."""
PLANES, PLANES_WIDTH = (0, 47, 1600, 800), 1200
"""The planes and slices on the scan's sheet, without title and legend."""


def main(ct: Path, demo: Path) -> None:
    """Draw what `body-117` finds in a scan, and what the demo's network finds in a phantom."""
    scan = read_scan(ct)
    _draw(scan, segment(scan, "body-117").result, "real_torso", PLANES)
    (label_map,) = (demo / "prediction").glob("*.nii.gz")
    case = label_map.name.removesuffix(".nii.gz")
    phantom = read_scan(demo / "dataset" / "test" / case / "ct.nii.gz")
    _draw(phantom, read_labelled(label_map), "demo_preview", title=case)


def _draw(
    scan: Volume,
    result: Segmentation | LabelMap,
    name: str,
    part: tuple[int, int, int, int] | None = None,
    title: str = "",
) -> None:
    for lang, ending in LANGUAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            sheet = Path(folder) / "sheet.png"
            draw_preview(scan, result, sheet, title, lang=lang)
            picture = Image.open(sheet).convert("RGB")
        if part is not None:
            picture = picture.crop(part)
            picture = picture.resize(
                (PLANES_WIDTH, round(PLANES_WIDTH * picture.height / picture.width)), Image.Resampling.LANCZOS
            )
        picture.save(PICTURES / f"{name}{ending}.png", optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

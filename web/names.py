"""Write src/names.json: what structures and groups are called in French, where a server says their names alone."""

from __future__ import annotations

import json
from pathlib import Path

from tomoseg.labels import LabelSet
from tomoseg.pictures.structure_names import readable, readable_group

FILE = Path(__file__).parent / "src" / "names.json"


def names() -> str:
    """The text of the file."""
    total = LabelSet.total()
    found = {one.name: readable(one.name, "fr") for one in total} | {g: readable_group(g, "fr") for g in total.groups}
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(names(), encoding="utf-8")

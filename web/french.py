"""Write src/french.json: what the page says in French, and what structures and groups are called there."""

from __future__ import annotations

import json
from pathlib import Path

from tomoseg.labels import LabelSet
from tomoseg.language.words import texts
from tomoseg.pictures.structure_names import readable, readable_group

FILE = Path(__file__).parent / "src" / "french.json"

PAGE = "page\4"
"""Before the texts of the page in the catalogue, as gettext puts a context there."""


def french() -> str:
    """The text of the file."""
    total = LabelSet.total()
    names = {one.name: readable(one.name, "fr") for one in total} | {g: readable_group(g, "fr") for g in total.groups}
    said = {key.removeprefix(PAGE): text for key, text in sorted(texts("fr").items()) if key.startswith(PAGE)}
    return json.dumps({"texts": said, "names": names}, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(french(), encoding="utf-8")

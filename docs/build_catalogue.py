"""The catalogue of what is said in French, `src/tomoseg/language/fr.po`, brought up to what the source says.

New texts come into it without a translation, reworded ones as fuzzy with the translation of what they were, and what
nobody says any more goes. Then `fr.mo`, which is what programs read, is made of it. `--missing` lists what lacks a
translation.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

SRC = Path(__file__).resolve().parent.parent / "src" / "tomoseg"
PO = SRC / "language" / "fr.po"
MO = PO.with_suffix(".mo")

PLURALS = ("Plural-Forms", "nplurals=2; plural=(n > 1);")

Text = str | tuple[str, str]
"""What is said, or what is said of one and of several."""


def said() -> dict[Text, list[str]]:
    """Every text that the source says, with the files that say it."""
    found: dict[Text, list[str]] = {}
    for path in sorted((*SRC.rglob("*.py"), *SRC.rglob("*.html"))):
        code = path.read_text(encoding="utf-8")
        name = path.relative_to(SRC).as_posix()
        if path.suffix == ".py" and "from tomoseg.language" not in code:
            continue
        for text in said_in(code) if path.suffix == ".py" else said_in_page(code):
            places = found.setdefault(text, [])
            if name not in places:
                places.append(name)
    return found


def said_in(code: str) -> Iterator[Text]:
    """The texts of all calls of `say`, `say_many`, `later` and `all_later`, where they stand in the call itself."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).split(".")[-1]
        texts = node.args if called == "all_later" else node.args[:1] if called in {"say", "later"} else []
        for text in texts:
            yield from (n.value for n in ast.walk(text) if isinstance(n, ast.Constant) and type(n.value) is str)
        if called == "say_many":
            one, many = node.args[1:3]
            if isinstance(one, ast.Constant) and isinstance(many, ast.Constant):
                yield str(one.value), str(many.value)


def said_in_page(template: str) -> Iterator[str]:
    """The same of a template of a page."""
    yield from re.findall(r'say\("([^"]+)"', template)


def catalogue() -> Catalog:
    """What there is."""
    with PO.open("rb") as stream:
        return read_po(stream, locale="fr")


def updated(known: Catalog) -> Catalog:
    """The same for what the source says now."""
    template = Catalog(project="tomoseg", version="1", charset="utf-8", fuzzy=False)
    for text, places in said().items():
        template.add(text, locations=[(place, 0) for place in places])
    known.update(template, update_creation_date=False)
    known.obsolete.clear()
    return known


def written(known: Catalog) -> bytes:
    """It as a `.po` file."""
    known.project, known.version, known.fuzzy = "tomoseg", "1", False
    known.creation_date = known.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    known.header_comment = "# What tomoseg says, in French. See docs/build_catalogue.py."
    known.last_translator, known.language_team, known.msgid_bugs_address = "tomoseg", "French", "tomoseg"
    stream = io.BytesIO()
    write_po(stream, known, width=120, sort_by_file=True, include_lineno=False, ignore_obsolete=True)
    return stream.getvalue()


def compiled(known: Catalog) -> bytes:
    """It as a `.mo` file, with the spaces of French where no line may end."""
    result = Catalog(locale="fr", charset="utf-8", fuzzy=False)
    result.mime_headers = [PLURALS]
    result.creation_date = result.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    for message in known:
        if message.id and not message.fuzzy:
            result.add(message.id, string=_typeset(message.string), context=message.context)
    stream = io.BytesIO()
    write_mo(stream, result)
    return stream.getvalue()


def _typeset(string: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if not isinstance(string, str):
        return tuple(map(typeset, string))
    return typeset(string)


def typeset(text: str) -> str:
    """A text with spaces that do not break before `: ; ! ? % »` and after `«`."""
    return re.sub(r" (?=[:;!?%»])|(?<=«) ", "\xa0", text)


def missing(known: Catalog) -> list[Message]:
    """What has no translation, or a fuzzy one."""
    return [one for one in known if one.id and (one.fuzzy or not all(_strings(one)))]


def _strings(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string)


if __name__ == "__main__":
    current = updated(catalogue())
    PO.write_bytes(written(current))
    MO.write_bytes(compiled(current))
    for lacking in missing(current) if "--missing" in sys.argv else ():
        print(lacking.id)
    print(f"{len(current)} texts, {len(missing(current))} of them without a translation")

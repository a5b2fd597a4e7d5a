"""The catalogue of what is said in French, `src/tomoseg/language/fr.po`, brought up to what the source says.

New texts come into it without a translation, reworded ones as fuzzy with the translation of what they were, and what
nobody says any more goes. Then `fr.mo`, which is what programs read, is made of it. `--missing` lists what lacks a
translation.
"""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from said_in_source import Text, sentences, texts_in, texts_in_page, texts_in_script, texts_in_table

SRC = Path(__file__).resolve().parent.parent / "src" / "tomoseg"
PO = SRC / "language" / "fr.po"
MO = PO.with_suffix(".mo")
RELEASES = SRC / "data" / "totalsegmentator.toml"

PLURALS = ("Plural-Forms", "nplurals=2; plural=(n > 1);")

CONTEXT = "sentence"
"""Of the patterns of sentences that are composed in English."""

WEB = SRC.parents[1] / "web" / "src"
PAGE = "page"
"""The context of what the page of `view` and `serve` says."""


def said() -> dict[tuple[str | None, Text], list[str]]:
    """Every text and the pattern of every sentence of the source, by its context, with the files that say it."""
    found: dict[tuple[str | None, Text], list[str]] = {}
    modules = {path: path.read_text(encoding="utf-8") for path in sorted(SRC.rglob("*.py"))}
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(SRC.rglob("*.html"))}
    speaking = {path: code for path, code in modules.items() if "from tomoseg.language" in code}
    texts = [(text, path) for path, code in speaking.items() for text in texts_in(code)]
    texts += [(text, path) for path, page in pages.items() for text in texts_in_page(page)]
    texts += [(text, RELEASES) for text in texts_in_table(RELEASES.read_text(encoding="utf-8"))]
    for text, path in texts:
        _place(found.setdefault((None, text), []), path)
    for pattern, paths in sentences(modules.items()).items():
        for path in paths:
            _place(found.setdefault((CONTEXT, pattern), []), path)
    for path in sorted(WEB.glob("*.ts")):
        for text in texts_in_script(path.read_text(encoding="utf-8")):
            _place(found.setdefault((PAGE, text), []), path)
    return found


def _place(places: list[str], path: Path) -> None:
    name = path.relative_to(SRC if path.is_relative_to(SRC) else WEB.parent).as_posix()
    if name not in places:
        places.append(name)


def catalogue() -> Catalog:
    """What there is."""
    with PO.open("rb") as stream:
        return read_po(stream, locale="fr")


def updated(known: Catalog) -> Catalog:
    """The same for what the source says now."""
    template = Catalog(project="tomoseg", version="1", charset="utf-8", fuzzy=False)
    for (context, text), places in said().items():
        template.add(text, locations=[(place, 0) for place in places], context=context)
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
    lacking = missing(known)
    result = Catalog(locale="fr", charset="utf-8", fuzzy=False)
    result.mime_headers = [PLURALS]
    result.creation_date = result.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    for message in known:
        if message.id and message not in lacking:
            result.add(message.id, string=_typeset(message.string), context=message.context)
    stream = io.BytesIO()
    write_mo(stream, result)
    return stream.getvalue()


def _typeset(string: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return typeset(string) if isinstance(string, str) else tuple(map(typeset, string))


def typeset(text: str) -> str:
    """A text with spaces that do not break before `: ; ! ? % »` and after `«`."""
    return re.sub(r" (?=[:;!?%»])|(?<=«) ", "\xa0", text)


def missing(known: Catalog) -> list[Message]:
    """What has no translation, or a fuzzy one."""
    return [one for one in known if one.id and (one.fuzzy or not all(_strings(one)))]


def _strings(message: Message) -> tuple[str, ...]:
    return tuple(message.string or ("",)) if not isinstance(message.string, str) else (message.string,)


if __name__ == "__main__":
    current = updated(catalogue())
    PO.write_bytes(written(current))
    MO.write_bytes(compiled(current))
    for lacking in missing(current) if "--missing" in sys.argv else ():
        print(lacking.id)
    print(f"{len(current)} texts, {len(missing(current))} of them without a translation")

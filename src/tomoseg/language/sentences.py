"""Translation of finished English sentences: errors, notices, warnings and findings.

They are composed in English where something is known, stored in records as they are, and translated where they are
shown. The catalogue has their patterns, such as `expected {1} axes, got {2}; pass one volume`; of several that match,
the one with the most literal text is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from string import Formatter

from tomoseg.language.words import NO_BREAK, all_later, pointed, spoken, texts
from tomoseg.settings import Language

SENTENCE = "sentence\4"
"""Prefix of the patterns' keys in the catalogue: a gettext context."""

_FIRST_OF = re.compile(r" \(The numbers are those of (.+)\.\)$")
"""The suffix that `notices.gathered` adds to a sentence told of several scans."""

_ANY = "scan"

_WEAK = 40
"""Literal characters below which a pattern is rejected if a value is English that has no pattern of its own."""

_ENDS = re.compile(r"; |, got |\. [A-Z]")
_UNITS = {"GB": "Go", "MB": "Mo", "kB": "ko", "HU": "UH", "%": "%", "mm": "mm", "ml": "ml", "min": "min", "s": "s"}
_FIGURES = re.compile(r"([-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?) ?(GB|MB|kB|HU|%|mm|ml|min|s)?")
_BETWEEN = re.compile(r"( x |, | to | and |\.\.)")
_CLAUSES, _ITEMS = re.compile(r"(; )"), re.compile(r"(, and |, | and | or )")
_JOINS = {", and ": " et ", " and ": " et ", " or ": " ou ", "; ": f"{NO_BREAK}; "}
_NAME = re.compile(r"[^\s/\\]+")
_COUNTED = re.compile(r"(.+) \((\d+)\)")
_ENGLISH = re.compile(
    r"(?<![\w/.`'\"-])(?:an|the|not|of|with|its?|to|is|are|was|got|may|be|by|from) [A-Za-z]|^an? [a-z]"
)
_BARE_COLON = re.compile(rf"(?<=[^{NO_BREAK} ]): ")
_HAS_WORDS = re.compile(r"[A-Za-z]{2}")
_WORDS = {" to ": " à ", " and ": " et ", "..": " à "}

_OF_THE_SYSTEM = all_later(
    "No such file or directory",
    "Permission denied",
    "Operation not permitted",
    "Is a directory",
    "Not a directory",
    "Directory not empty",
    "File exists",
    "File name too long",
    "File too large",
    "Too many levels of symbolic links",
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "Input/output error",
    "Stale file handle",
    "Device or resource busy",
    "Text file busy",
    "Cannot allocate memory",
    "Too many open files",
    "Broken pipe",
    "Address already in use",
    "Cannot assign requested address",
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "Network is unreachable",
    "No route to host",
    "Name or service not known",
    "Temporary failure in name resolution",
)
"""Reasons of the operating system, which Python gives in English, with an error's number and file around them."""

_SYSTEM = re.compile(rf"(?:\[Errno -?\d+\] )?({'|'.join(map(re.escape, _OF_THE_SYSTEM))})(?:: ('.+'))?")


def sentence(text: str, lang: Language | None = None) -> str:
    r"""Translate a finished English sentence.

    Args:
        text: The sentence, or several joined; names before it, as in `a, b: ...`, are kept.
        lang: The language; if omitted, this process's.

    Returns:
        The translation, or `text` itself where the catalogue has no pattern for it.

    Example:
        >>> sentence("ct.nii: expected a file with content, got an empty one; copy or download it again", "fr")
        'ct.nii\xa0: le fichier est vide\xa0; copiez-le ou téléchargez-le à nouveau'
    """
    language = lang or spoken()
    if language == "en" or not text.strip():
        return text
    if (first := _FIRST_OF.search(text)) is not None:
        return f"{sentence(text[: first.start()], language)} (Les chiffres sont ceux de {first[1]}.)"
    return _found(text, language) or _without_stop(text, language) or text


def _found(text: str, lang: Language) -> str | None:
    """Translate a sentence with or without its names, by patterns that say enough before others."""
    for patterns in (_strong(lang), _weak(lang)):
        for way in (_said, _after_names, _without_name):
            if (said := way(text, lang, patterns)) is not None:
                return said
    return None


def _without_stop(text: str, lang: Language) -> str | None:
    """Translate what was given a full stop to stand among sentences."""
    said = _found(text[:-1], lang) if text.endswith(".") else None
    return said and f"{said}."


def _said(text: str, lang: Language, patterns: Sequence[_Pattern]) -> str | None:
    bare = text.strip()
    for pattern in patterns:
        values = pattern.values_in(bare) if pattern.longest in bare else None  # few need an expression
        if values is not None and not (pattern.is_weak and any(_is_left(value, lang) for value in values)):
            start = text[: len(text) - len(text.lstrip())]
            return start + pattern.filled(values, lang) + text[len(text.rstrip()) :]
    return None


def _is_left(value: str, lang: Language) -> bool:
    """Whether a value would stay English in a pattern that says little itself."""
    told = _told(value, lang)
    return _ENGLISH.search(told) is not None or (told == value and _ENDS.search(value) is not None)


def _after_names(text: str, lang: Language, patterns: Sequence[_Pattern]) -> str | None:
    """Translate the sentence after a prefix of file or scan names; None if no pattern matches."""
    for colon in re.finditer(": ", text.partition(", got ")[0]):
        said = _said(text[colon.end() :], lang, patterns)
        if said is not None:
            return f"{_more(text[: colon.start()])}{NO_BREAK}: {said}"
    return None


def _without_name(text: str, lang: Language, patterns: Sequence[_Pattern]) -> str | None:
    """What is said of a file whose name was left off, as a server leaves off that of an upload."""
    said = _said(f"{_ANY}: {text}", lang, patterns)
    before = f"{_ANY}{NO_BREAK}: "
    return said.removeprefix(before) if said is not None and said.startswith(before) else None


def _more(names: str) -> str:
    """Translate the `and 3 more` that ends a shortened list of names."""
    return re.sub(r" and (\d+) more$", r" et \1 autres", names)


def _told(value: str, lang: Language) -> str:
    """Translate a value of a sentence: figures, a phrase or sentence of the catalogue, or several of them."""
    known = texts(lang).get(SENTENCE + value)
    if known is not None:
        return known
    if (figure := figures(value, lang)) != value:
        return figure
    if (reason := _SYSTEM.fullmatch(value)) is not None:
        told = texts(lang).get(reason[1], reason[1])
        return told if reason[2] is None else f"{told}{NO_BREAK}: {reason[2]}"
    return _listed(value, lang, all) or _phrase(value, lang) or _listed(value, lang, any) or value


def _phrase(value: str, lang: Language) -> str | None:
    """Translate a phrase or a sentence of the catalogue, also with its number in brackets behind it."""
    if (known := texts(lang).get(SENTENCE + value)) is not None:
        return known
    if (kind := _COUNTED.fullmatch(value)) is not None and (known := _phrase(kind[1], lang)) is not None:
        return f"{known} ({kind[2]})"
    if _HAS_WORDS.search(value) is None:
        return None
    return _found(value, lang) or _without_stop(value, lang) or _begun(value, lang)


def _begun(value: str, lang: Language) -> str | None:
    """Translate a phrase that begins a sentence, and so has a capital."""
    said = _phrase(value[0].lower() + value[1:], lang) if value[:1].isupper() else None
    return said and said[0].upper() + said[1:]


def _listed(value: str, lang: Language, enough: Callable[[Iterable[object]], bool]) -> str | None:
    """Translate phrases joined by commas, semicolons, `and` or `or`, if all or any of them are known; and single names.

    Args:
        value: The list.
        lang: The language.
        enough: `all` or `any`.
    """
    for between in (_CLAUSES, _ITEMS):
        items = between.split(value)
        if len(items) == 1:
            continue
        told = [_phrase(item, lang) for item in items[::2]]
        if enough(told) or all(map(_NAME.fullmatch, items[::2])):
            items[::2] = [said or item for said, item in zip(told, items[::2], strict=True)]
            items[1::2] = [_JOINS.get(join, join) for join in items[1::2]]
            return "".join(items)
    return None


@dataclass(frozen=True)
class _Pattern:
    """A sentence's English pattern and its translation.

    Attributes:
        literals: The English text before, between and after its values.
        translation: The translation, with the values in braces.
    """

    literals: tuple[str, ...]
    translation: str

    @cached_property
    def weight(self) -> int:
        """Number of literal characters."""
        return sum(len(one) for one in self.literals)

    @property
    def is_weak(self) -> bool:
        """Whether it says so little that its values decide."""
        return self.weight < _WEAK

    @cached_property
    def longest(self) -> str:
        return max(self.literals, key=len)

    @cached_property
    def expression(self) -> re.Pattern[str]:
        return re.compile("(.*?)".join(map(re.escape, self.literals)), re.DOTALL)

    def values_in(self, text: str) -> tuple[str, ...] | None:
        """Return the values in a sentence of this pattern; None if it does not match."""
        found = self.expression.fullmatch(text)
        return None if found is None else found.groups()

    def filled(self, values: tuple[str, ...], lang: Language) -> str:
        """Return the translation with the values in it; the name of a file before a colon stays as it is."""
        said = ["", *(_told(value, lang) for value in values)]
        if self.begins_with_name and " " not in values[0]:
            said[1] = values[0]
        elif not self.literals[0]:  # it may begin with a name
            said[1] = _BARE_COLON.sub(f"{NO_BREAK}: ", said[1])
        return self.translation.format(*said)

    @cached_property
    def begins_with_name(self) -> bool:
        return len(self.literals) > 1 and not self.literals[0] and self.literals[1].startswith(":")


@cache
def _patterns(lang: Language) -> tuple[_Pattern, ...]:
    """Return a language's patterns, those with the most literal text first."""
    found = [
        _Pattern(tuple(_literals(key.removeprefix(SENTENCE))), said)
        for key, said in texts(lang).items()
        if key.startswith(SENTENCE)
    ]
    return tuple(sorted(found, key=lambda one: (-one.weight, one.literals)))


@cache
def _strong(lang: Language) -> tuple[_Pattern, ...]:
    return tuple(pattern for pattern in _patterns(lang) if not pattern.is_weak)


@cache
def _weak(lang: Language) -> tuple[_Pattern, ...]:
    return tuple(pattern for pattern in _patterns(lang) if pattern.is_weak)


def _literals(pattern: str) -> Iterator[str]:
    """Yield the text before, between and after the values of a pattern."""
    literal = ""
    for before, name, _, _ in Formatter().parse(pattern):
        literal += before
        if name is not None:
            yield literal
            literal = ""
    yield literal


def figures(text: str, lang: Language | None = None) -> str:
    r"""Format the numbers and units of a value for a language; any other value is returned as it is.

    Example:
        >>> figures("0.8 x 0.8 x 5", "fr"), figures("1.5 GB", "fr"), figures("v1.5/ct.nii", "fr")
        ('0,8 x 0,8 x 5', '1,5\xa0Go', 'v1.5/ct.nii')
    """
    if (lang or spoken()) == "en":
        return text
    parts = _BETWEEN.split(text)
    if not all(_FIGURES.fullmatch(part) for part in parts[::2]):
        return "aucun" if text == "none" else _more(text)
    joins = {**_WORDS, ", ": " ; "} if "." in text else _WORDS
    return "".join(joins.get(part) or _figure(part) for part in parts)


def _figure(text: str) -> str:
    found = _FIGURES.fullmatch(text)
    if found is None:  # a separator
        return text
    number = pointed(found[1].replace(",", NO_BREAK), "fr")
    return number if found[2] is None else f"{number}{NO_BREAK}{_UNITS[found[2]]}"

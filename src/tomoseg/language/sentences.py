"""Translation of finished English sentences: errors, notices, warnings and findings.

They are composed in English where something is known, stored in records as they are, and translated where they are
shown. The catalogue has their patterns, such as `expected {1} axes, got {2}; pass one volume`; of several that match,
the one with the most literal text is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from string import Formatter

from tomoseg.language.words import NO_BREAK, pointed, spoken, texts
from tomoseg.settings import Language

SENTENCE = "sentence\4"
"""Prefix of the patterns' keys in the catalogue: a gettext context."""

_FIRST_OF = re.compile(r" \(The numbers are those of (.+)\.\)$")
"""The suffix that `notices.gathered` adds to a sentence told of several scans."""

_ANY = "scan"

_WEAK = 40
"""Literal characters below which a pattern is rejected if one of its values contains `_ENDS`."""

_ENDS = re.compile(r"; |, got |\. [A-Z]")
_UNITS = {"GB": "Go", "MB": "Mo", "kB": "ko", "HU": "UH", "%": "%", "mm": "mm", "ml": "ml", "min": "min", "s": "s"}
_FIGURES = re.compile(r"([-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?) ?(GB|MB|kB|HU|%|mm|ml|min|s)?")
_BETWEEN = re.compile(r"( x |, | to | and |\.\.)")
_WORDS = {" to ": " à ", " and ": " et ", "..": " à "}


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
    return _said(text, language) or _after_names(text, language) or _without_name(text, language) or text


def _said(text: str, lang: Language) -> str | None:
    bare = text.strip()
    for pattern in _patterns(lang):
        values = pattern.values_in(bare)
        if values is not None:
            start = text[: len(text) - len(text.lstrip())]
            return start + pattern.filled(values, lang) + text[len(text.rstrip()) :]
    return None


def _after_names(text: str, lang: Language) -> str | None:
    """Translate the sentence after a prefix of file or scan names; None if no pattern matches."""
    for colon in re.finditer(": ", text):
        said = _said(text[colon.end() :], lang)
        if said is not None:
            return f"{_more(text[: colon.start()])}{NO_BREAK}: {said}"
    return None


def _without_name(text: str, lang: Language) -> str | None:
    """What is said of a file whose name was left off, as a server leaves off that of an upload."""
    said = _said(f"{_ANY}: {text}", lang)
    before = f"{_ANY}{NO_BREAK}: "
    return said.removeprefix(before) if said is not None and said.startswith(before) else None


def _more(names: str) -> str:
    """Translate the `and 3 more` that ends a shortened list of names."""
    return re.sub(r" and (\d+) more$", r" et \1 autres", names)


class _Value(str):
    """A value in a sentence: `{1}` formats its figures in the language, `{1:text}` translates it as a sentence."""

    lang: Language

    def __format__(self, how: str) -> str:
        if how == "text":
            return sentence(self, self.lang)
        return texts(self.lang).get(SENTENCE + self) or figures(self, self.lang)


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

    @cached_property
    def longest(self) -> str:
        return max(self.literals, key=len)

    @cached_property
    def expression(self) -> re.Pattern[str]:
        return re.compile("(.*?)".join(map(re.escape, self.literals)), re.DOTALL)

    def values_in(self, text: str) -> tuple[str, ...] | None:
        """Return the values in a sentence of this pattern; None if it does not match."""
        if self.longest not in text:
            return None
        found = self.expression.fullmatch(text)
        if found is None or (self.weight < _WEAK and any(_ENDS.search(value) for value in found.groups())):
            return None
        return found.groups()

    def filled(self, values: tuple[str, ...], lang: Language) -> str:
        said = [_Value(value) for value in ("", *values)]
        for one in said:
            one.lang = lang
        return self.translation.format(*said)


@cache
def _patterns(lang: Language) -> tuple[_Pattern, ...]:
    """Return a language's patterns, those with the most literal text first."""
    found = [
        _Pattern(tuple(_literals(key.removeprefix(SENTENCE))), said)
        for key, said in texts(lang).items()
        if key.startswith(SENTENCE)
    ]
    return tuple(sorted(found, key=lambda one: (-one.weight, one.literals)))


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

"""Texts and numbers in a language. The English text is its own key."""

from __future__ import annotations

from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from typing import TypeVar

from tomoseg.settings import Language

Text = TypeVar("Text", bound=str)

_spoken: list[Language] = ["en"]


def speak(lang: Language) -> None:
    """Set the language of this process, used where none is named and in the terminal.

    Args:
        lang: The language; English until this is called.
    """
    _spoken[0] = lang


def spoken() -> Language:
    """Return this process's language."""
    return _spoken[0]


def say(text: str, lang: Language | None = None, /, **values: object) -> str:
    """Translate a text and fill in its values.

    Args:
        text: The English text, as a literal or marked with `later` so that the catalogue finds it. A text that the
            catalogue lacks stays English.
        lang: The language; if omitted, this process's.
        values: The values of the text's braces.

    Example:
        >>> say("Overlay, enlarged {times}×", "fr", times="2,0")
        'Superposition, agrandie 2,0×'
    """
    return _catalogue(lang or spoken()).gettext(text).format(**values)


def say_many(count: int, one: str, many: str, lang: Language | None = None, /, **values: object) -> str:
    """Translate a text that has a singular and a plural.

    Args:
        count: The number that chooses between them, `{count}` in the texts.
        one: The English singular.
        many: The English plural, also for 0.
        lang: The language; if omitted, this process's.
        values: The values of the texts' other braces.

    Example:
        >>> say_many(1, "1 case", "{count} cases"), say_many(3, "1 case", "{count} cases", "fr")
        ('1 case', '3 cas')
    """
    return _catalogue(lang or spoken()).ngettext(one, many, count).format(count=count, **values)


def later(text: str) -> str:
    """Mark a text for the catalogue that is passed to `say` elsewhere, and return it unchanged."""
    return text


def all_later(*texts: str) -> tuple[str, ...]:
    """Mark several texts, as `later` does one."""
    return texts


def part(text: Text) -> Text:
    """The text itself, which stands as a value in sentences: the mark by which the catalogue finds it.

    Args:
        text: Such as "a zip archive", in "expected a scan, got a zip archive".
    """
    return text


def texts(lang: Language) -> dict[str, str]:
    """Return the catalogue's texts that have no plural, with their translations; empty for English.

    Args:
        lang: The language.
    """
    catalogue = _catalogue(lang)
    return catalogue.texts() if isinstance(catalogue, _Catalogue) else {}


class _Catalogue(GNUTranslations):
    """GNU gettext's catalogue, with access to all of its texts."""

    _catalog: dict[str | tuple[str, int], str]

    def texts(self) -> dict[str, str]:
        return {key: text for key, text in self._catalog.items() if isinstance(key, str) and key}


@cache
def _catalogue(lang: Language) -> NullTranslations:
    if lang == "en":
        return NullTranslations()
    with files("tomoseg.language").joinpath(f"{lang}.mo").open("rb") as stream:
        return _Catalogue(stream)


def number(value: float | None, digits: int, lang: Language | None = None, *, signed: bool = False) -> str:
    """Format a number with a fixed number of decimals; an en dash for None.

    Example:
        >>> number(0.70449, 3, "fr"), number(None, 3), number(-1.5, 1, signed=True)
        ('0,704', '–', '−1.5')
    """
    if value is None:
        return "–"
    return pointed(f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−"), lang)


def short(value: float, lang: Language | None = None) -> str:
    """Format a number to three significant digits.

    Example:
        >>> short(2.7344, "fr"), short(3.0)
        ('2,73', '3')
    """
    return pointed(f"{value:.3g}", lang)


def millilitres(volume: float, lang: Language | None = None) -> str:
    """Format a volume in ml, without its unit: to three significant digits, and from 100 ml whole.

    Example:
        >>> millilitres(0.00814, "fr"), millilitres(1532.4)
        ('0,00814', '1532')
    """
    return f"{volume:.0f}" if volume >= 100 else short(volume, lang)


def percent(share: float, lang: Language | None = None) -> str:
    r"""Format a fraction in [0, 1] as a whole percentage.

    Example:
        >>> percent(0.75), percent(0.75, "fr")
        ('75%', '75\xa0%')
    """
    return f"{100 * share:.0f}{NO_BREAK if (lang or spoken()) == 'fr' else ''}%"


def pointed(number: str, lang: Language | None = None) -> str:
    """Replace the decimal point of a formatted number by the language's.

    Example:
        >>> pointed("0.5", "fr")
        '0,5'
    """
    return number.replace(".", ",") if (lang or spoken()) == "fr" else number


NO_BREAK = "\xa0"
"""The no-break space that French has before `: ; ! ? %`."""

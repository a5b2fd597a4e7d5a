"""Texts and numbers in a language. The English text is its own key."""

from __future__ import annotations

from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files

from tomoseg.settings import Language

_spoken: list[Language] = ["en"]


def speak(lang: Language) -> None:
    """Choose what this process says where no language is named, which is what it says in the terminal.

    Args:
        lang: The language; it is English before.
    """
    _spoken[0] = lang


def spoken() -> Language:
    """The language that was chosen."""
    return _spoken[0]


def say(text: str, lang: Language | None = None, /, **values: object) -> str:
    """A text in a language.

    Args:
        text: The English text, as a literal or marked with `later`: that is how the catalogue finds it. One that the
            catalogue lacks stays English.
        lang: The language; if omitted, that which this process speaks.
        values: What the text has braces for.

    Example:
        >>> say("Overlay, enlarged {times}×", "fr", times="2,0")
        'Superposition, agrandie 2,0×'
    """
    return _catalogue(lang or spoken()).gettext(text).format(**values)


def say_many(count: int, one: str, many: str, lang: Language | None = None, /, **values: object) -> str:
    """A text about one or several, in a language.

    Args:
        count: How many; the texts may have it as `{count}`.
        one: The English text of one.
        many: That of several, and of none.
        lang: The language; if omitted, that which this process speaks.
        values: What else the texts have braces for.

    Example:
        >>> say_many(1, "1 case", "{count} cases"), say_many(3, "1 case", "{count} cases", "fr")
        ('1 case', '3 cas')
    """
    return _catalogue(lang or spoken()).ngettext(one, many, count).format(count=count, **values)


def later(text: str) -> str:
    """The text itself, which is handed to `say` elsewhere: the mark by which the catalogue finds it."""
    return text


def all_later(*texts: str) -> tuple[str, ...]:
    """The same of several."""
    return texts


def texts(lang: Language) -> dict[str, str]:
    """Every text of the catalogue that is not about how many, with its translation; none for English.

    Args:
        lang: The language.
    """
    catalogue = _catalogue(lang)
    return catalogue.texts() if isinstance(catalogue, _Catalogue) else {}


class _Catalogue(GNUTranslations):
    """What GNU's gettext has read, whole."""

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
    """A number as it is written in a language; a dash for none.

    Example:
        >>> number(0.70449, 3, "fr"), number(None, 3), number(-1.5, 1, signed=True)
        ('0,704', '–', '−1.5')
    """
    if value is None:
        return "–"
    return pointed(f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−"), lang)


def short(value: float, lang: Language | None = None) -> str:
    """A length or the like to three digits.

    Example:
        >>> short(2.7344, "fr"), short(3.0)
        ('2,73', '3')
    """
    return pointed(f"{value:.3g}", lang)


def percent(share: float, lang: Language | None = None) -> str:
    r"""A share of 1 in whole percent.

    Example:
        >>> percent(0.75), percent(0.75, "fr")
        ('75%', '75\xa0%')
    """
    return f"{100 * share:.0f}{NO_BREAK if (lang or spoken()) == 'fr' else ''}%"


def pointed(number: str, lang: Language | None = None) -> str:
    """A number that is written already, with the decimal point of a language.

    Example:
        >>> pointed("0.5", "fr")
        '0,5'
    """
    return number.replace(".", ",") if (lang or spoken()) == "fr" else number


NO_BREAK = "\xa0"
"""The space that French has before `: ; ! ? %`, where no line ends."""

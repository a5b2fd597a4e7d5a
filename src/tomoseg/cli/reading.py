"""Parsing of a command line into the arguments of a command, with errors in one line."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from pydantic import ByteSize, TypeAdapter, ValidationError
from tyro.conf import Positional, PositionalMetavarFromFieldName, arg
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from tomoseg.cli.language import LANG
from tomoseg.cli.others import translate_options
from tomoseg.cli.refused import refusing, see
from tomoseg.errors import ConfigError, TomosegError, unknown_name_message
from tomoseg.files.stores.addresses import place_of
from tomoseg.language.words import spoken
from tomoseg.options import MemorySize
from tomoseg.settings import Config, group_of, named, naming

VALUES = ConstructorRegistry()
"""Parsers of values and their names in the help, in addition to tyro's own."""


def read(command: Callable[..., int], name: str, argv: Sequence[str], settings: Mapping[str, Config]) -> partial[int]:
    """Parse the arguments of a command and return it ready to be called.

    Settings count as set explicitly if a flag names them, or if they already do in the defaults.

    Args:
        command: Function of the command.
        name: Name of the command.
        argv: Its arguments.
        settings: Defaults that replace those of the function.

    Raises:
        ConfigError: If there are unknown arguments, one is missing, or one cannot be parsed.
        SystemExit: If help was requested.
    """
    flags = own_flags(command)
    words = translate_options(name, argv, flags)
    if strange := [word for word in words if _is_strange(word, flags)]:
        raise ConfigError(_unknown_flags(name, strange, flags))
    function = _described(lambda **values: partial(command, **values), command, settings)
    marks = (PositionalMetavarFromFieldName,)
    with refusing(name):
        found, unknown = tyro.cli(
            function, prog=f"tomoseg {name}", args=words, registry=VALUES, return_unknown_args=True, config=marks
        )
    if unknown:
        raise ConfigError(f"expected nothing more, got {' '.join(unknown)}; {see(name)}")
    assert isinstance(found, partial)
    given = {key: value for key, value in found.keywords.items() if isinstance(value, Config)}
    marked = {key: naming(value, named(settings[key]) | _chosen(words)) for key, value in given.items()}
    return partial(found.func, **{**_own(found.keywords, command), **marked})


def _own(values: Mapping[str, Any], command: Callable[..., int]) -> dict[str, Any]:
    """Select the values that the function of a command takes."""
    return {name: values[name] for name in inspect.signature(command).parameters}


def _chosen(words: Sequence[str]) -> frozenset[str]:
    """Return the dotted names of the settings that are given by flags."""
    flags = {word.split("=")[0].replace("-", "_").removeprefix("__") for word in words if word.startswith("--")}
    return frozenset(flags | {flag.removeprefix("no_") for flag in flags})


def own_flags(command: Callable[..., int]) -> list[str]:
    """Return every flag of a command as spelt in its help, with aliases."""
    return [flag for name, kind in _parameters(command) for flag in _flags(name, kind)]


def _parameters(command: Callable[..., int]) -> Iterator[tuple[str, Any]]:
    return ((name, one.annotation) for name, one in _signature(command).items())


def _signature(command: Callable[..., int]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a command, with `--lang` added if its settings have no language."""
    hints = get_type_hints(command, include_extras=True)
    found = {name: one.replace(annotation=hints[name]) for name, one in inspect.signature(command).parameters.items()}
    return {**found, LANG.name: LANG.replace(default=spoken())} if has_no_language(command) else found


def has_no_language(command: Callable[..., int]) -> bool:
    """Whether no settings of a command have a language, so that `--lang` is added to its options."""
    kinds = get_type_hints(command, include_extras=True).values()
    return not any("lang" in getattr(_bare(kind), "model_fields", ()) for kind in kinds)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _flags(name: str, kind: Any) -> Iterator[str]:
    bare, marks = (get_args(kind)[0], get_args(kind)[1:]) if get_origin(kind) is Annotated else (kind, ())
    if isinstance(bare, type) and issubclass(bare, Config):
        yield from (f"--{setting.replace('_', '-')}" for setting in _names(bare, ""))
    elif get_args(Positional[int])[1] not in marks:
        yield from next((mark.aliases for mark in marks if getattr(mark, "aliases", None)), ())
        yield f"--{name.replace('_', '-')}"


def _names(kind: type[Config], prefix: str) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        group = group_of(field)
        if group is None:
            yield prefix + name
        else:
            yield from _names(group, f"{prefix}{name}.")


def _is_strange(word: str, flags: Sequence[str]) -> bool:
    """Whether a word is a flag that the command does not have."""
    flag = word.split("=")[0].replace("_", "-")
    known = {*flags, "-h", "--help"}
    return re.match("--?[A-Za-z]", word) is not None and not known & {flag, flag.replace("--no-", "--", 1)}


def _unknown_flags(name: str, strange: Sequence[str], flags: Sequence[str]) -> str:
    """Return the message for unknown flags, with the most similar known ones."""
    near = " and ".join(dict.fromkeys(one for word in strange if (one := _nearest(word, flags))))
    given = ", ".join(strange)
    if near:
        return f"expected options of tomoseg {name}, got {given}; did you mean {near}? {see(name)}"
    return f"expected options of tomoseg {name}, got {given}; {see(name)}"


_LIKE = 0.7
"""Least share of letters that a mistyped flag has in common with the one that was meant."""
_LEAST_LETTERS = 3
"""Letters of a beginning that stands for a flag."""


def _nearest(word: str, flags: Sequence[str]) -> str | None:
    """Return the flag that ends with a word (`--optimizer.learning-rate` for `--learning-rate`), or one like it.

    That is one that begins with it, or is spelt much alike; the dashes in front, which all flags share, do not count.
    """
    wanted = word.split("=")[0].lower().replace("_", "-").lstrip("-")
    whole = {flag.lstrip("-"): flag for flag in flags}
    last = {name.rpartition(".")[2]: flag for name, flag in whole.items()}
    names = {**last, **whole}
    ends = [flag for name, flag in whole.items() if name.endswith("." + wanted)]
    begins = [flag for name, flag in names.items() if len(wanted) >= _LEAST_LETTERS and name.startswith(wanted)]
    near = [names[name] for name in difflib.get_close_matches(wanted, names, n=1, cutoff=_LIKE)]
    return next(iter((*ends, *begins, *near)), None)


def _described(
    call: Callable[..., partial[int]], command: Callable[..., int], settings: Mapping[str, Config]
) -> Callable[..., partial[int]]:
    """Return a function with the parameters and the help texts of the command."""
    kinds = {name: Annotated[kind, _SHOWN] for name, kind in _parameters(command)}
    parameters = [
        one.replace(annotation=kinds[name], default=settings.get(name, one.default))
        for name, one in _signature(command).items()
    ]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__, call.__name__ = kinds, command.__name__
    # a line indented this deep continues the help of the argument above it
    call.__doc__ = re.sub(r"\n {8,}(?=\S)", " ", inspect.cleandoc(command.__doc__ or ""))
    return call


def _default_in_words(label: str) -> str:
    """Return the default as shown in the help: empty without one, and `on` only for a switch that is on."""
    if label in {"", "None", "False"}:
        return ""
    return f"(default: {'on' if label == 'True' else label})"


_SHOWN = arg(help_behavior_hint=_default_in_words)


@VALUES.struct_rule
def _settings(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Parse settings field by field, each with its help in one line."""
    if not (isinstance(info.type, type) and issubclass(info.type, Config)):
        return None
    given = info.default if isinstance(info.default, Config) else info.type()
    kinds = get_type_hints(info.type, include_extras=True)
    fields = []
    for name, field in info.type.model_fields.items():
        kind: Any = Annotated[kinds[name], _SHOWN]
        fields.append(StructFieldSpec(name, kind, getattr(given, name), " ".join((field.description or "").split())))
    return StructConstructorSpec(info.type, tuple(fields))


@VALUES.primitive_rule
def _or_none(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Parse a value or `None`; the name in the help is that of the value."""
    kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
    inner = _spec_of(kinds[0], info) if get_origin(info.type) in {Union, UnionType} and len(kinds) == 1 else None
    if inner is None:
        return None
    return PrimitiveConstructorSpec(
        nargs=inner.nargs if inner.nargs in {1, "*"} else (1, inner.nargs),  # type: ignore[arg-type]
        metavar=inner.metavar,
        instance_from_str=lambda words: None if words == ["None"] else inner.instance_from_str(words),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else inner.str_from_instance(value),
    )


def _spec_of(kind: Any, within: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    found = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, within.markers))
    return found if isinstance(found, PrimitiveConstructorSpec) else None


@VALUES.primitive_rule
def _one_of(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Parse one of several words; the error for another one names the most similar."""
    if get_origin(info.type) is not Literal:
        return None
    known = tuple(map(str, get_args(info.type)))

    def value_of(words: list[str]) -> Any:
        if words[0] not in known:
            raise ValueError(unknown_name_message(words[0], known))
        return get_args(info.type)[known.index(words[0])]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(known) + "}",
        instance_from_str=value_of,
        is_instance=lambda value: value in get_args(info.type),
        str_from_instance=lambda value: [str(value)],
    )


@VALUES.primitive_rule
def _several(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Parse any number of values of one word each."""
    kinds = get_args(info.type)
    if get_origin(info.type) is not tuple or len(kinds) != 2 or kinds[1] is not Ellipsis:
        return None
    inner = _spec_of(kinds[0], info)
    if inner is None or inner.nargs != 1:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{inner.metavar} ...",
        instance_from_str=lambda words: tuple(inner.instance_from_str([word]) for word in words),
        is_instance=lambda value: isinstance(value, tuple) and all(map(inner.is_instance, value)),
        str_from_instance=lambda value: [inner.str_from_instance(one)[0] for one in value],
    )


@VALUES.primitive_rule
def _memory_size(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if info.type is not ByteSize:
        return None

    def value_of(words: list[str]) -> Any:
        try:
            return TypeAdapter(MemorySize).validate_python(words[0])
        except ValidationError as error:
            raise ValueError(str(error.errors()[0]["ctx"]["error"])) from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="SIZE",
        instance_from_str=value_of,
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )


@VALUES.primitive_rule
def _path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Parse a path, or a URL, which becomes its path in the cache."""
    if info.type is not Path:
        return None

    def value_of(words: list[str]) -> Any:
        try:
            return place_of(words[0])
        except TomosegError as error:
            raise ValueError(str(error)) from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=value_of,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


PLAIN: dict[Any, tuple[str, str]] = {
    str: ("TEXT", "text"),
    int: ("N", "a whole number"),
    float: ("X", "a number"),
}
"""Names of types in the usage and in messages."""


@VALUES.primitive_rule
def _plain(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if info.type not in PLAIN:
        return None
    kind, (metavar, called) = info.type, PLAIN[info.type]

    def value_of(words: list[str]) -> Any:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"expected {called}, got {words[0]!r}") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=value_of,
        is_instance=lambda value: type(value) is kind or (kind is float and type(value) is int),
        str_from_instance=lambda value: [str(value)],
    )

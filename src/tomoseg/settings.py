"""Base of all settings: fields of a frozen model, each with its help and its role.

A value comes from the preset or the default, then the YAML file, then the command line, and is saved beside every
result. The docstring under a field is its help text and its line in the reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from tomoseg.errors import ConfigError, unknown_name_message

ConfigModel = TypeVar("ConfigModel", bound="Config")

Language = Literal["en", "fr"]
"""Language of pictures and pages."""


class Config(BaseModel):
    """Base of all settings: frozen, unknown keys and NaN refused, help text from docstrings.

    Raises:
        ConfigError: On an unknown name or a wrong value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_first_problem(type(self), error)) from None

    # pydantic's mark that nested groups are built without this `__init__`; otherwise errors would not name the group
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


class Role(Enum):
    """What a setting affects: `seed: Annotated[int, Role.RESULT] = 0`. A group's role applies to all its settings."""

    RESULT = "result"
    """The result: one stored with another value is a different result."""
    LENGTH = "length"
    """The length of training and the interval of validations; a resumed run may have another value."""
    RESOURCES = "resources"
    """Device, speed and memory of the computation."""
    PRESENTATION = "presentation"
    """The presentation of results."""


def roles(kind: type[Config]) -> dict[str, Role]:
    """Return the role of each setting, by its dotted name.

    Raises:
        ConfigError: If a setting has no role, neither its own nor that of its group.
    """
    found = dict(_roles(kind, None, ""))
    without = [name for name, role in found.items() if role is None]
    if without:
        raise ConfigError(f"{kind.__name__}: expected a role for each setting, got none for {without}; annotate them")
    return {name: role for name, role in found.items() if role is not None}


def _roles(kind: type[Config], around: Role | None, prefix: str) -> Iterator[tuple[str, Role | None]]:
    for name, field in kind.model_fields.items():
        role = next((one for one in field.metadata if isinstance(one, Role)), around)
        group = group_of(field)
        if group is None:
            yield prefix + name, role
        else:
            yield from _roles(group, role, f"{prefix}{name}.")


def group_of(field: FieldInfo) -> type[Config] | None:
    """Return the class of the group of settings that a field holds, or None if it is a single setting."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Config) else None


def flat(settings: Config) -> dict[str, Any]:
    """Return settings as plain data for JSON, by their dotted names."""
    return dict(_flat(type(settings), settings.model_dump(mode="json"), ""))


def _flat(kind: type[Config], values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in kind.model_fields.items():
        group = group_of(field)
        if group is None:
            yield prefix + name, values[name]
        else:
            yield from _flat(group, values[name], f"{prefix}{name}.")


def named(settings: Config) -> frozenset[str]:
    """Return the dotted names of the settings that were set explicitly.

    Example:
        >>> from tomoseg.config import GridConfig, PreprocessConfig
        >>> sorted(named(PreprocessConfig(grid=GridConfig(spacing_mm=1.5), seed=0)))
        ['grid.spacing_mm', 'seed']
    """
    return frozenset(_named(settings, ""))


def _named(settings: Config, prefix: str) -> Iterator[str]:
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if isinstance(value, Config):
            yield from _named(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def naming(settings: ConfigModel, names: Collection[str]) -> ConfigModel:
    """Return the same settings, of which exactly these count as set explicitly.

    Args:
        settings: The settings.
        names: Their dotted names.
    """
    values: dict[str, Any] = {}
    chosen = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        inner = {one.removeprefix(f"{name}.") for one in names if one.startswith(f"{name}.")}
        values[name] = naming(value, inner) if isinstance(value, Config) else value
        if inner or name in names:
            chosen.add(name)
    return cast(ConfigModel, type(settings).model_construct(_fields_set=chosen, **values))


def put_over(base: ConfigModel, values: Mapping[str, Any]) -> ConfigModel:
    """Return settings with some values replaced, by dotted names.

    Raises:
        ConfigError: If a name is unknown, or a value is wrong.

    Example:
        >>> from tomoseg.config import PreprocessConfig
        >>> put_over(PreprocessConfig(), {"grid.spacing_mm": 3.0}).grid.spacing_mm
        3.0
    """
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return validate_config(type(base), merged(base.model_dump(), nested), "settings")


def chosen_over(base: ConfigModel, settings: ConfigModel) -> ConfigModel:
    """Return settings with the values that were set explicitly in other settings put over them."""
    return put_over(base, {name: _value_at(settings, name) for name in named(settings)})


def _value_at(settings: Config, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


DECIDES: frozenset[Role] = frozenset({Role.RESULT})


def deciding(*settings: Config, decides: Collection[Role] = DECIDES) -> dict[str, Any]:
    """Return the settings that a stored result depends on, to be saved with it and compared as a whole.

    Defaults are left out, so that a new setting does not make earlier results stale.

    Args:
        settings: One or more records, with no setting of the same name.
        decides: The roles that count.

    Returns:
        Values as plain data for JSON, sorted by their dotted names.
    """
    found: dict[str, Any] = {}
    for one in settings:
        kind = type(one)
        of, default = roles(kind), flat(kind())
        found |= {name: value for name, value in flat(one).items() if of[name] in decides and value != default[name]}
    return dict(sorted(found.items()))


def load_config(preset: ConfigModel, path: Path | None) -> ConfigModel:
    """Return the preset with the values of a YAML file put over it.

    Args:
        preset: Settings used for names that the file does not have.
        path: A YAML file, or None for the preset as it is.

    Raises:
        ConfigError: If the file cannot be read, has an unknown key (the nearest is named) or a wrong value.
    """
    return preset if path is None else cast(ConfigModel, load_together([preset], path)[0])


def load_together(presets: Sequence[Config], path: Path, beside: Sequence[Config] = ()) -> list[Config]:
    """Return several records of settings with the values of one YAML file put over them.

    Args:
        presets: Settings used for names that the file does not have; no two have a setting of the same name.
        path: A YAML file with the settings of all.
        beside: Settings of other commands that the file may also hold; they are validated and ignored.

    Raises:
        ConfigError: If the file cannot be read, has an unknown key (the nearest is named) or a wrong value.
    """
    values = _values_in(path)
    known = [name for preset in presets for name in type(preset).model_fields]
    for other in beside:
        values = _without_those_of(other, values, known, path)
    for name in values:
        if name not in known:
            raise ConfigError(f"{path}: {name}: {unknown_name_message(str(name), known)}")
    found = []
    for preset in presets:
        own = {name: value for name, value in values.items() if name in type(preset).model_fields}
        found.append(validate_config(type(preset), merged(preset.model_dump(), own), str(path)) if own else preset)
    return found


def _without_those_of(other: Config, values: dict[Any, Any], known: Sequence[str], path: Path) -> dict[Any, Any]:
    """Validate the values in a file that belong only to another command, and return the others."""
    own = {name: value for name, value in values.items() if name in type(other).model_fields and name not in known}
    validate_config(type(other), merged(other.model_dump(), own), str(path))
    return {name: value for name, value in values.items() if name not in own}


def names_in(path: Path) -> frozenset[str]:
    """Return the dotted names of the settings in a YAML file, known or not.

    Raises:
        ConfigError: If it cannot be read.
    """
    return frozenset(_leaves(_values_in(path), ""))


def _leaves(values: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        yield f"{prefix}{name}"


def _values_in(path: Path) -> dict[Any, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = yaml_mistake(error)
        raise ConfigError(f"{path}: expected a YAML file of settings, got {told}; correct it or the path") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        got = "a list" if isinstance(values, list) else "a single value"
        raise ConfigError(f"{path}: expected `key: value` lines, got {got}; correct the file")
    return values


def yaml_mistake(error: Exception) -> str:
    """Return in a few words why a YAML file cannot be read: the parser's own are several lines long.

    Args:
        error: What the parser or the system raised.

    Example:
        >>> yaml_mistake(FileNotFoundError(2, "No such file or directory"))
        'no such file'
    """
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"a mistake in line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError):
        return f"what cannot be read ({error.strerror or error})"
    return "characters that YAML does not allow"


def validate_config(kind: type[ConfigModel], values: dict[str, Any], name: str) -> ConfigModel:
    """Make settings from plain data.

    Raises:
        ConfigError: On the first unknown key or wrong value, with its dotted name.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{name}: {_first_problem(kind, error)}") from None


def save_config(config: Config, path: Path) -> None:
    """Write settings as YAML that `load_config` reads back."""
    path.write_text(config_yaml(config), encoding="utf-8")


def config_yaml(config: Config) -> str:
    """Return settings as YAML text."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return plain data of settings with other values put over it, group by group."""
    result = dict(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return result


def written(value: object) -> str:
    """Return a value as it is written in a file of settings.

    Example:
        >>> written(True), written((256, 256)), written("axial"), written(None)
        ('true', '[256, 256]', 'axial', 'null')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {written(one)}' for name, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return str(value) or "''"


def _given(value: object) -> str:
    """Return a wrong value; text is quoted, so that spaces at its ends are seen."""
    return repr(value) if isinstance(value, str) else written(value)


def _first_problem(kind: type[Config], error: ValidationError) -> str:
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    place = ".".join(path or ["settings"])
    given = problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"{place}: {unknown_name_message(path[-1], tuple(_group_at(kind, path[:-1]).model_fields))}"
    if problem["type"] == "value_error":  # raised by a validator, which names what it got
        return f"{place}: {problem['ctx']['error']}; correct the value"
    if problem["type"] == "literal_error" and (known := re.findall(r"'([^']*)'", problem["ctx"]["expected"])):
        return f"{place}: {unknown_name_message(str(given), known)}"
    if problem["type"] == "tuple_type":  # one alone, of what may be several
        return f"{place}: expected a list, got {_given(given)}; write {json.dumps([given], default=str)}"
    message = problem["msg"]
    text = _bound(problem["type"], message.split()[-1]) or re.sub("^Input should be ", "expected ", message)
    return f"{place}: {text}, got {_given(given)}; correct the value"


def _bound(problem: str, limit: str) -> str | None:
    """Return the expectation for a number that is out of range, in words that the catalogue has."""
    match problem:
        case "greater_than":
            return f"expected a value greater than {limit}"
        case "greater_than_equal":
            return f"expected a value greater than or equal to {limit}"
        case "less_than":
            return f"expected a value less than {limit}"
        case "less_than_equal":
            return f"expected a value less than or equal to {limit}"
    return None


def _group_at(kind: type[Config], path: Sequence[str]) -> type[Config]:
    for part in path:
        kind = group_of(kind.model_fields[part]) or kind
    return kind

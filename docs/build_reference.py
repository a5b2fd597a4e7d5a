"""Write what is made from the code into `docs/reference/configuration.md` and `commands.md`: `make docs`.

The first is made whole. In the second, each command has a part between two comments that is made; what stands below it
is written by hand.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from docstring_parser import parse
from pydantic import ByteSize
from pydantic.fields import FieldInfo
from tyro.conf import Positional

from tomoseg.bodies.config import BodyConfig
from tomoseg.cli import COMMANDS
from tomoseg.cli.language import LANG_HELP
from tomoseg.cli.reading import has_no_language
from tomoseg.cli.running import called_in_python, command_of
from tomoseg.config import PREPROCESS_PRESETS, TRAIN_PRESETS
from tomoseg.settings import Config, Language, group_of, roles

CONFIGURATION = Path(__file__).parent / "reference" / "configuration.md"
COMMANDS_PAGE = Path(__file__).parent / "reference" / "commands.md"

INTRODUCTION = """# Configuration

Every setting of `tomoseg preprocess` and `tomoseg train`, and what `tomoseg phantom` draws bodies from. A value comes
from the preset, or from [what is planned for the dataset](../concepts/planning.md), then the YAML file, then the
command line. A dotted name such as `network.channels` is `channels` under `network` in the file:

```yaml
network:
  channels: [16, 32, 64]
```

The column *decides* says what a setting affects: the `result`, the `length` of the training, the `resources` that it
takes, or the `presentation`. A resumed run must have the same settings for the result; the others may change.

The options of `tomoseg predict`, `evaluate` and `tune` can come from a file too, with `--config FILE`: write their
[flags](commands.md) with `_` instead of `-`:

```yaml
engine: openvino
max_memory: 4GB
roi_subset: [liver, spleen]
```

Made from `src/tomoseg/config.py` by `make docs`.
"""

PHANTOM = """## tomoseg phantom

These settings apply with `--anatomy`, and are given in a file with `--config FILE`; [synthetic
bodies](../concepts/synthetic-bodies.md) says how they are used. There are no presets. A range is `[from, to]`; HU have
four ranges: native, arterial, portal venous, late.
"""

SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
UNQUOTED = str.maketrans("", "", '"')


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for command, presets in (("preprocess", PREPROCESS_PRESETS), ("train", TRAIN_PRESETS)):
        parts.append(f"## tomoseg {command}\n")
        decides = {name: role.value for name, role in roles(type(presets["default"])).items()}
        parts += _tables(presets["default"], presets["guide"], "", decides)
    decides = {name: role.value for name, role in roles(BodyConfig).items()}
    parts += [PHANTOM, *_tables(BodyConfig(), BodyConfig(), "", decides)]
    return "\n".join(parts)


def _tables(default: Config, guide: Config, prefix: str, decides: dict[str, str]) -> Iterator[str]:
    """A table of the plain settings, then one for each group of settings."""
    fields = type(default).model_fields
    groups = [name for name in fields if isinstance(getattr(default, name), Config)]
    if prefix:
        yield f"### `{prefix[:-1]}`\n"
    yield "| setting | type | default | preset `guide` | decides | what it does |\n|---|---|---|---|---|---|"
    for name, field in fields.items():
        if name not in groups:
            values = getattr(default, name), getattr(guide, name)
            yield _row(prefix + name, field, *values, decides[prefix + name])
    yield ""
    for name in groups:
        yield from _tables(getattr(default, name), getattr(guide, name), f"{prefix}{name}.", decides)


def _row(name: str, field: FieldInfo, default: Any, guide: Any, decides: str) -> str:
    kind = ", ".join([_kind(field.annotation), *_limits(field)])
    help_text = _in_a_cell(field.description)
    other = "" if guide == default else _value(guide)
    return f"| `{name}` | {kind} | {_value(default)} | {other} | {decides} | {help_text} |"


def _in_a_cell(text: str | None) -> str:
    """Help in one line of a table; a flag is code, unless it stands in code already."""
    line = " ".join((text or "").split()).replace("|", "\\|")
    return re.sub(r"`[^`]*`|(?<![\w-])--[a-z][a-z-]*", lambda found: f"`{found[0].strip('`')}`", line)


NAMES: dict[Any, str] = {Path: "path", ByteSize: "size", NoneType: "`null`"}


def _kind(annotation: Any) -> str:
    """A type in words."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(args[0])
    if origin is Literal:
        return " or ".join(map(_value, args))
    if origin in {Union, UnionType}:
        return " or ".join(map(_kind, args))
    if origin is tuple:
        return f"list of {_kind(args[0])}" if args[-1] is Ellipsis else f"[{', '.join(map(_kind, args))}]"
    return NAMES.get(annotation, str(annotation.__name__))


def _limits(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        yield from (f"{sign} {getattr(limit, name)}" for name, sign in SIGNS.items() if hasattr(limit, name))


def _value(value: Any) -> str:
    """A value as YAML has it."""
    return f"`{json.dumps(value, default=str).translate(UNQUOTED)}`"


@dataclass(frozen=True)
class Argument:
    """What a command takes.

    Attributes:
        names: As it is written, such as `-o` and `--output`, or `DATASET`.
        kind: The type of its value.
        default: What it is if omitted; `...` if it is required.
        help: What it does.
    """

    names: tuple[str, ...]
    kind: Any
    default: Any
    help: str | None

    def row(self) -> str:
        """Its line in the table."""
        names = ", ".join(f"`{name}`" for name in self.names)
        kind = "" if self.kind is bool else _kind(_without_none(self.kind))
        plain = self.default is None or self.default == () or self.kind is bool
        default = "required" if self.default is ... else "" if plain else _value(self.default)
        default = "on" if self.default is True else default
        return f"| {names} | {kind} | {default} | {_in_a_cell(self.help)} |"


def commands(page: str) -> str:
    """The page with what is made from the code put anew into it."""
    for name in COMMANDS:
        begin = f"<!-- made from src/tomoseg/cli/{called_in_python(name)}.py by `make docs` -->"
        made = f"{begin}\n\n{_command(command_of(name))}\n\n{END}"
        if begin in page:
            before, after = page.split(begin)
            page = before + made + after.split(END, 1)[1]
        else:
            page += f"\n## tomoseg {name}\n\n{made}\n"
    return page


END = "<!-- end -->"


def _command(command: Callable[..., int]) -> str:
    """What it is, and a table of what it takes."""
    text = parse(command.__doc__ or "")
    told = [part for part in (text.short_description, text.long_description) if part]
    groups = [row for kind, default, help_text in _settings_of(command) for row in _settings(kind, default, help_text)]
    rows = [*(argument.row() for argument in _arguments(command)), *groups]
    if has_no_language(command):
        rows.append(Argument(("--lang",), Language, "en", LANG_HELP).row())
    table = ["| argument | value | if omitted | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([*(f"{' '.join(part.split())}\n" for part in told), *table])


def _parameters(command: Callable[..., int]) -> Iterator[tuple[str, Any, Any, str | None]]:
    """Name, type, default and help."""
    help_of = {one.arg_name: one.description for one in parse(command.__doc__ or "").params}
    kinds = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        default = ... if parameter.default is parameter.empty else parameter.default
        yield name, kinds[name], default, help_of[name]


def _arguments(command: Callable[..., int]) -> Iterator[Argument]:
    for name, kind, default, help_text in _parameters(command):
        marks = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
        if isinstance(default, Config):
            continue
        if get_args(Positional[int])[1] in marks:
            yield Argument((name.upper(),), kind, default, help_text)
        else:
            aliases = next((mark.aliases for mark in marks if hasattr(mark, "aliases")), None) or ()
            yield Argument((*aliases, *_flags(name, default)), kind, default, help_text)


def _settings_of(command: Callable[..., int]) -> Iterator[tuple[type[Config], Config, str | None]]:
    for _, _, default, help_text in _parameters(command):
        if isinstance(default, Config):
            yield type(default), default, help_text


def _settings(kind: type[Config], default: Config, help_text: str | None) -> Iterator[str]:
    """A row for each, or one for all if there are groups."""
    if any(group_of(field) for field in kind.model_fields.values()):
        section = f"configuration.md#tomoseg-{kind.__name__.removesuffix('Config').lower()}"
        names = ", ".join(f"`{_flags(name, None)[0]}`" for name in _some(kind, ""))
        yield f"| [{names}, ...]({section}) | | | {_in_a_cell(help_text)} |"
        return
    for name, field in kind.model_fields.items():
        value = getattr(default, name)
        yield Argument(_flags(name, value), field.annotation, value, field.description).row()


def _some(kind: type[Config], prefix: str) -> list[str]:
    """Two settings as examples: the first of a group, and the first that is in none."""
    group, field = next((name, found) for name, one in kind.model_fields.items() if (found := group_of(one)))
    return [
        f"{group}.{next(iter(field.model_fields))}",
        next(n for n, one in kind.model_fields.items() if not group_of(one)),
    ]


def _flags(name: str, default: Any) -> tuple[str, ...]:
    flag = name.replace("_", "-")
    return (f"--{flag}", f"--no-{flag}") if default is True else (f"--{flag}",)


def _without_none(kind: Any) -> Any:
    """What a value is if it is given."""
    if get_origin(kind) is Annotated:
        return _without_none(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return next(one for one in get_args(kind) if one is not NoneType)
    return kind


if __name__ == "__main__":
    CONFIGURATION.write_text(reference(), encoding="utf-8")
    COMMANDS_PAGE.write_text(commands(COMMANDS_PAGE.read_text(encoding="utf-8")), encoding="utf-8")

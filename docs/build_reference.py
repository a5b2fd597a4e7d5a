"""Write `docs/reference/configuration.md` from the settings' own definitions: `make docs`."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from tomoseg.config import PREPROCESS_PRESETS, TRAIN_PRESETS, Config

PAGE = Path(__file__).parent / "reference" / "configuration.md"

INTRODUCTION = """# Configuration

Every setting of `tomoseg preprocess` and `tomoseg train`. A value comes from the preset, then the YAML file, then the
command line. A dotted name such as `network.channels` is `channels` under `network` in the file:

```yaml
network:
  channels: [16, 32, 64]
```

Made from `src/tomoseg/config.py` by `make docs`.
"""

SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
UNQUOTED = str.maketrans("", "", '"')


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for command, presets in (("preprocess", PREPROCESS_PRESETS), ("train", TRAIN_PRESETS)):
        parts.append(f"## tomoseg {command}\n")
        parts += _tables(presets["default"], presets["guide"], "")
    return "\n".join(parts)


def _tables(default: Config, guide: Config, prefix: str) -> Iterator[str]:
    """A table of the plain settings, then one for each group of settings."""
    fields = type(default).model_fields
    groups = [name for name in fields if isinstance(getattr(default, name), Config)]
    if prefix:
        yield f"### `{prefix[:-1]}`\n"
    yield "| setting | type | default | preset `guide` | what it does |\n|---|---|---|---|---|"
    for name, field in fields.items():
        if name not in groups:
            values = getattr(default, name), getattr(guide, name)
            yield _row(prefix + name, field, *values)
    yield ""
    for name in groups:
        yield from _tables(getattr(default, name), getattr(guide, name), f"{prefix}{name}.")


def _row(name: str, field: FieldInfo, default: Any, guide: Any) -> str:
    kind = ", ".join([_kind(field.annotation), *_limits(field)])
    help_text = " ".join((field.description or "").split()).replace("|", "\\|")
    other = "" if guide == default else _value(guide)
    return f"| `{name}` | {kind} | {_value(default)} | {other} | {help_text} |"


def _kind(annotation: Any) -> str:
    """A type in words."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(_value(a) for a in args)
    if origin in {Union, UnionType}:
        return " or ".join("`null`" if a is NoneType else _kind(a) for a in args)
    if origin is tuple and args[-1] is Ellipsis:
        return f"list of {_kind(args[0])}"
    if origin is tuple:
        return f"[{', '.join(_kind(a) for a in args)}]"
    return str(annotation.__name__)


def _limits(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        yield from (f"{sign} {getattr(limit, name)}" for name, sign in SIGNS.items() if hasattr(limit, name))


def _value(value: Any) -> str:
    """A value as YAML has it."""
    return f"`{json.dumps(value).translate(UNQUOTED)}`"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(reference(), encoding="utf-8")

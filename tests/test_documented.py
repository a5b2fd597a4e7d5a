"""The documents keep up with the code: settings, commands and links."""

import re
import runpy
from pathlib import Path

import pytest
from pydantic import BaseModel

from tomoseg.config import PreprocessConfig, TrainConfig

PROJECT = Path(__file__).resolve().parent.parent
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]
CONFIGURATION = PROJECT / "docs" / "reference" / "configuration.md"


def _settings(kind: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in kind.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        names += _settings(field.annotation, f"{prefix}{name}.") if nested else [prefix + name]
    return names


@pytest.mark.parametrize("kind", [PreprocessConfig, TrainConfig])
def test_every_setting_has_its_line_with_help(kind):
    page = CONFIGURATION.read_text(encoding="utf-8")
    command = kind.__name__.removesuffix("Config").lower()
    section = re.search(rf"^## tomoseg {command}$(.*?)(^## |\Z)", page, re.M | re.S)
    lines = {line.split("`")[1]: line for line in section[1].splitlines() if line.startswith("| `")}
    assert sorted(lines) == sorted(_settings(kind))
    undescribed = [name for name, line in lines.items() if len(line.strip("| ").split(" | ")[-1]) < 10]
    assert undescribed == []


def test_the_configuration_page_is_what_the_script_makes():
    made = runpy.run_path(str(PROJECT / "docs" / "build_reference.py"))["reference"]()
    assert CONFIGURATION.read_text(encoding="utf-8") == made, "run `make docs`"


def test_every_command_has_its_section():
    from tomoseg.cli import COMMANDS

    page = (PROJECT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"^## tomoseg (\S+)$", page, re.M) == list(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_page_has_text_and_its_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert text.strip()
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", re.sub(r"```.*?```", "", text, flags=re.S))
    dead = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert dead == []

"""The documents keep up with the code: settings, commands and links."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from tests.test_results_page import anchor
from tomoseg.bodies.config import BodyConfig
from tomoseg.cli import COMMANDS, main
from tomoseg.config import PreprocessConfig, TrainConfig
from tomoseg.version import __version__

PROJECT = Path(__file__).resolve().parent.parent
OF_THE_PROJECT = [
    PROJECT / name for name in ("README.md", "README.fr.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/notebook.md")
]
PAGES = [*OF_THE_PROJECT, *sorted((PROJECT / "docs").rglob("*.md"))]
CONFIGURATION = PROJECT / "docs" / "reference" / "configuration.md"


def _settings(kind: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in kind.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        names += _settings(field.annotation, f"{prefix}{name}.") if nested else [prefix + name]
    return names


@pytest.mark.parametrize("kind", [PreprocessConfig, TrainConfig, BodyConfig])
def test_every_setting_has_its_line_with_help(kind):
    page = CONFIGURATION.read_text(encoding="utf-8")
    command = "phantom" if kind is BodyConfig else kind.__name__.removesuffix("Config").lower()
    section = re.search(rf"^## tomoseg {command}$(.*?)(^## |\Z)", page, re.M | re.S)
    lines = {line.split("`")[1]: line for line in section[1].splitlines() if line.startswith("| `")}
    assert sorted(lines) == sorted(_settings(kind))
    undescribed = [name for name, line in lines.items() if len(line.strip("| ").split(" | ")[-1]) < 10]
    assert undescribed == []


BUILD = runpy.run_path(str(PROJECT / "docs" / "build_reference.py"))
COMMANDS_PAGE = PROJECT / "docs" / "reference" / "commands.md"


def test_the_configuration_page_is_what_the_script_makes():
    assert CONFIGURATION.read_text(encoding="utf-8") == BUILD["reference"](), "run `make docs`"


def test_the_page_on_commands_is_what_the_script_makes():
    page = COMMANDS_PAGE.read_text(encoding="utf-8")
    assert page == BUILD["commands"](page), "run `make docs`"
    assert re.findall(r"^## tomoseg (\S+)$", page, re.M) == list(COMMANDS)
    assert re.findall(r"^<!-- made from src/tomoseg/cli/(\w+?)_?\.py", page, re.M) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_documented_with_each_of_its_flags(command, capsys):
    page = COMMANDS_PAGE.read_text(encoding="utf-8")
    section = re.search(rf"^## tomoseg {command}$(.*?)(^## |\Z)", page, re.M | re.S)[1]
    table = dict(re.findall(r"^\| (`.*?`) \| .*? \| .*? \| (.*?) \|$", section, re.M))
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    listed = " ".join(line for line in capsys.readouterr().out.splitlines() if line.strip("│| ").startswith("-"))
    known = set(re.findall(r"(?<=[ ,])--[a-z][a-z0-9-]*", listed)) - {"--help"}
    shown = set(re.findall(r"`(--[a-z0-9-]+)`", " ".join(table)))
    if "configuration.md#tomoseg" not in section:
        assert {flag for flag in known if not flag.startswith("--no-")} <= shown
    assert shown <= known
    assert [name for name, text in table.items() if len(text) < 10] == []


def test_what_is_made_is_put_into_its_place():
    page = COMMANDS_PAGE.read_text(encoding="utf-8")
    spoilt = page.replace("| `PLACE` | path |  | A dataset, ", "| `PLACE` | path |  | A former dataset, ")
    assert spoilt != page
    assert BUILD["commands"](spoilt) == page
    assert "\n## tomoseg labels\n\n<!-- made from" in BUILD["commands"]("# Commands\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_page_has_text_and_its_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert text.strip()
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", re.sub(r"```.*?```", "", text, flags=re.S))
    dead = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert dead == []


def _without_blocks(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_its_links_to_headings_lead_to_one(page):
    dead = []
    for target, wanted in re.findall(r"\]\(([^)\s#]*)#([^)\s]+)\)", _without_blocks(page)):
        if "://" not in target:
            headings = re.findall(r"^#+ (.+)$", _without_blocks(page.parent / target if target else page), re.M)
            dead += [f"{target}#{wanted}"] * (wanted not in map(anchor, headings))
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_commands_that_predict_name_what_they_read_and_write(page):
    """Scans and results have a flag each; without, as some other programs take them, the command is refused."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    shown = [line for block in blocks for line in re.sub(r"\\\n *", "", block).splitlines()]
    predict = [line.strip() for line in shown if line.strip().startswith("tomoseg predict ")]
    unflagged = [line for line in predict if line.split()[2][0] != "-"]
    assert unflagged == []


def test_citation_package_and_changelog_name_this_version():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert f"## {__version__} - {citation['date-released']}" in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)

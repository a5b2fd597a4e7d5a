"""The built page is that of its sources, and the wheel has all that it needs."""

import hashlib
import re
import runpy
from pathlib import Path

import pytest

from tomoseg.server.app import PAGE

WEB = Path(__file__).resolve().parents[2] / "web"
SOURCES = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.js")


def test_the_build_is_of_these_sources():
    if not WEB.is_dir():
        pytest.skip("needs the sources of the page")
    names = sorted([*SOURCES, *(f"src/{path.name}" for path in (WEB / "src").iterdir())])
    lines = [f"{hashlib.sha256((WEB / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    assert (PAGE / "sources.sha256").read_text() == "".join(lines), "run `make web`"


def test_the_page_loads_nothing_from_elsewhere_and_no_script_of_its_own_text():
    page = (PAGE / "index.html").read_text()
    assert re.findall(r'(?:src|href)="([^"]+)"', page)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert not re.findall(r"<script(?![^>]* src=)", page)
    assert {path.name for path in PAGE.iterdir()} >= {"index.html", "index.js", "index.css", "licences.md"}
    assert "BSD-2-Clause" in (PAGE / "licences.md").read_text()


def test_the_lock_file_names_no_host_that_packages_come_from():
    lock = (WEB / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert '"@niivue/niivue": "0.69.0"' in (WEB / "package.json").read_text()


def test_french_names_of_the_page_are_those_of_pictures():
    made = runpy.run_path(str(WEB / "names.py"))
    assert (WEB / "src" / "names.json").read_text(encoding="utf-8") == made["names"](), "run `make web`"

"""The built page is that of its sources, and the wheel has all that it needs."""

import hashlib
import re
import runpy
from pathlib import Path

import pytest

from tomoseg.server.app import PAGE

WEB = Path(__file__).resolve().parents[2] / "web"
SOURCES = ("index.html", "niivue-licence.txt", "package.json", "package-lock.json", "tsconfig.json", "vite.config.js")


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


def test_each_package_in_the_page_is_named_with_the_text_of_its_licence():
    sections = (PAGE / "licences.md").read_text().split("\n## ")[1:]
    named = {section.split(" ", 1)[0]: section for section in sections}
    assert {"@niivue/niivue", "tus-js-client", "gl-matrix", "nifti-reader-js", "fflate"} <= named.keys()
    for name, section in named.items():
        assert re.search(r"copyright", section, re.IGNORECASE), name
        assert re.search(r"without (any )?warrant|as is", section, re.IGNORECASE), name
        kind = re.search(r"\((.*?)\)", section.splitlines()[0]).group(1)
        assert kind in {"MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause"}, f"{name}: {kind}"


def test_the_lock_file_names_no_host_that_packages_come_from():
    lock = (WEB / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert '"@niivue/niivue": "0.69.0"' in (WEB / "package.json").read_text()


def test_the_french_of_the_page_is_that_of_the_catalogue():
    if not WEB.is_dir():
        pytest.skip("needs the sources of the page")
    made = runpy.run_path(str(WEB / "french.py"))
    assert (WEB / "src" / "french.json").read_text(encoding="utf-8") == made["french"](), "run `make web`"

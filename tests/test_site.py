"""The site of `make docs`: built without a warning, whole, and read from a disk without a network."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import tomoseg

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", folder / "doctrees"]
    done = subprocess.run([*command, PROJECT / "docs", folder / "html"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


class _Links(HTMLParser):
    """What a page loads by itself, and where it leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors.add(given.get("id") or "")
        if tag == "a":
            self.leads.append(given.get("href") or "")
        elif given.get("rel") not in {"search", "index", "next", "prev"}:
            self.loads += [given[name] for name in ("src", "href", "srcset", "data-src") if given.get(name)]


def _read(page):
    links = _Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


def test_every_page_and_every_public_name_is_in_it(site):
    pages = {path.relative_to(PROJECT / "docs").with_suffix(".html") for path in (PROJECT / "docs").rglob("*.md")}
    assert {path.relative_to(site) for path in site.rglob("*.html")} >= pages
    anchors = set().union(*(_read(page).anchors for page in (site / "reference" / "python").glob("*.html")))
    wanted = {f"tomoseg.{name}" for name in tomoseg.__all__ if name != "__version__"}
    assert wanted - anchors == set()


def test_the_front_page_is_the_readme_with_its_links(site):
    front = _read(site / "index.html")
    assert {"tutorial.html", "contributing.html", "changes.html"} <= set(front.leads)
    assert any(lead.endswith("LICENSE") for lead in front.leads)


def test_nothing_is_loaded_from_the_network_and_no_link_is_dead(site):
    loaded, dead = [], []
    for page in site.rglob("*.html"):
        links = _read(page)
        loaded += [f"{page.name}: {link}" for link in links.loads if re.match(r"(https?:)?//", link)]
        for link in {*links.loads, *links.leads}:
            parts = urlsplit(link)
            if not parts.scheme and parts.path and not (page.parent / unquote(parts.path)).exists():
                dead.append(f"{page.name}: {link}")
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        loaded += [
            f"{sheet.name}: {found}" for found in re.findall(r"url\(['\"]?(?:https?:)?//[^)]*|@import[^;]*", text)
        ]
    assert loaded == []
    assert dead == []

"""The site, from these pages and the docstrings of the public interface: `make docs`."""

import inspect
import os
import re
from pathlib import Path
from typing import get_type_hints

from docutils import nodes
from docutils.nodes import Element, TextElement
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import tomoseg

PAGES = Path(__file__).resolve().parent
PROJECT = PAGES.parent

OUTSIDE = {
    "index": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changes": "CHANGELOG.md",
    "notebook": "benchmarks/notebook.md",
    "fr/accueil": "README.fr.md",
}
"""Pages of the site whose text lies at the top of the repository."""

project = "tomoseg"
project_copyright = "the authors of tomoseg; Apache-2.0"
release = version = tomoseg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!tomoseg\.[A-Za-z_]+$).*")]
"""Types of other packages, whose documentation is on the network, and private ones."""

myst_heading_anchors = 4
default_role = "code"  # docstrings have code between single backticks
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
autodoc_default_options = {"exclude-members": "model_config"}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_use_ivar = True

html_theme = "furo"
html_title = "tomoseg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}


def with_text_of_the_repository(app: Sphinx, page: str, source: list[str]) -> None:
    """Put in the text of the pages that lie outside, and lead links to files outside to what the site has of them."""
    origin = PROJECT / OUTSIDE[page] if page in OUTSIDE else PAGES / f"{page}.md"
    text = origin.read_text(encoding="utf-8") if page in OUTSIDE else source[0]
    here = (PAGES / page).parent

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match.groups("")
        path = (origin.parent / target).resolve()
        if "://" in target or not path.exists():
            return match[0]
        for name, file in OUTSIDE.items():
            if path == PROJECT / file:
                path = PAGES / f"{name}.md"
        relative = os.path.relpath(path, here)
        inside = path.is_relative_to(PAGES) and path.suffix in {".md", ".png"}
        return f"[{words}]({relative}{anchor})" if inside else f"{{download}}`{words} <{relative}>`"

    text = re.sub(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)", link, text)
    source[0] = f"{text}\n{source[0]}" if page == "index" else text


COLON = "\ue03a"
"""Stands for a colon in the help of a setting while napoleon, which takes what is before one for a type, reads it."""


def french_spaces(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the French punctuation on the line of the word before it."""
    if not app.env.docname.startswith("fr/"):
        return
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.literal | nodes.literal_block):
            text.parent.replace(text, nodes.Text(re.sub(r" (?=[:;!?%»])|(?<=«) ", "\xa0", text)))


def hide_colons(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Before napoleon."""
    if what in {"attribute", "property"}:
        lines[:] = [line.replace(":", COLON) for line in lines]


def show_colons(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """After napoleon."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def public_type(app: Sphinx, env: BuildEnvironment, node: Element, text: TextElement) -> Element | None:
    """Lead from a type, which signatures name by the module that defines it, to its public name."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    if tomoseg._PLACES.get(name) != module:
        return None
    python = env.get_domain("py")
    return python.resolve_xref(env, node["refdoc"], app.builder, "class", f"tomoseg.{name}", node, text)


def plain_types(app: Sphinx) -> None:
    """Leave limits and roles out of the types of settings: their help and the page of the configuration have them."""
    for name in tomoseg.__all__:
        kind = getattr(tomoseg, name)
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            kind.__annotations__ = {field: get_type_hints(kind)[field] for field in kind.__annotations__}


def short_signature(
    app: Sphinx, what: str, name: str, value: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A class of settings takes its fields by name; they are listed below it."""
    settings = inspect.isclass(value) and issubclass(value, BaseModel)
    return ("(**settings)", None) if settings else (signature, returns)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", plain_types)
    app.connect("autodoc-process-signature", short_signature)
    app.connect("source-read", with_text_of_the_repository)
    app.connect("doctree-read", french_spaces)
    app.connect("missing-reference", public_type)
    app.connect("autodoc-process-docstring", hide_colons, priority=400)
    app.connect("autodoc-process-docstring", show_colons, priority=600)

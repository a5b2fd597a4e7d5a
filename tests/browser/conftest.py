"""Pages in a real browser: Chromium as the system has it, drawing in software."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.server.running import served

ARGUMENTS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PATIENCE_MS = 120_000
"""A processor that draws in software beside other work takes its time; tests that pass do not wait."""

NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Looked:
    """A page, and what it did.

    Attributes:
        page: Playwright's.
        address: Where it began.
        requests: All addresses that it asked for.
        faults: What went wrong in it: errors and refusals of the content security policy.
    """

    page: object
    address: str
    requests: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    @property
    def elsewhere(self):
        """What was asked for at any other place than the server."""
        own = self.address.split("/", 3)[:3]
        return [one for one in self.requests if one.split("/", 3)[:3] != own and not one.startswith(("data:", "blob:"))]


def _launched(*more):
    executable = next((found for name in NAMES if (found := shutil.which(name))), None)
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if executable is None:
        pytest.skip("needs Chromium, found none; apt-get install chromium")
    return playwright.sync_playwright(), executable, [*ARGUMENTS, *more]


@pytest.fixture(scope="module")
def chromium():
    """A browser."""
    driver, executable, arguments = _launched()
    with driver as playwright:
        yield playwright.chromium.launch(executable_path=executable, args=arguments)


@pytest.fixture
def opened(chromium):
    """Opens an application's page and waits until its scan is shown."""

    @contextmanager
    def open_page(app, path, wait="body[data-ready]", scripts=(), **options) -> Iterator[Looked]:
        with served(app) as client:
            address = f"{client.base_url}{path}"
            context = chromium.new_context(viewport={"width": 1200, "height": 800}, **options)
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            looked = Looked(page, address)
            page.on("request", lambda request: looked.requests.append(request.url))
            page.on("pageerror", lambda error: looked.faults.append(str(error)))
            page.on("console", lambda said: said.type == "error" and looked.faults.append(said.text))
            for script in scripts:
                page.add_init_script(script)
            try:
                page.goto(address)
                page.wait_for_selector(wait)
                yield looked
            finally:
                context.close()

    return open_page

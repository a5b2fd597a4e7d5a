"""Make the pictures of the page in docs/how-to from a phantom: `python docs/view_pictures.py`; needs Chromium."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.browser.conftest import ARGUMENTS, PATIENCE_MS  # noqa: E402
from tests.server.running import served  # noqa: E402
from tests.training.tiny import make_config  # noqa: E402
from tests.training.tiny import make_dataset as make_tiny_dataset  # noqa: E402
from tomoseg.options import ViewOptions  # noqa: E402
from tomoseg.server.run_viewing import RunViewing  # noqa: E402
from tomoseg.server.viewing import Viewing  # noqa: E402
from tomoseg.training.listener import Listener  # noqa: E402
from tomoseg.workflows.phantom import make_dataset  # noqa: E402
from tomoseg.workflows.train import train_run  # noqa: E402
from tomoseg.workflows.view import find_views  # noqa: E402
from tomoseg.workflows.watched_run import find_run  # noqa: E402

PICTURES = PROJECT / "docs" / "pictures"
COLOURS = 160
EPOCHS, EPOCHS_SHOWN = 20, 14


def main() -> None:
    """All pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        make_dataset(Path(folder) / "phantom", {"train": 1, "validation": 0, "test": 0}, 0, 2.5)
        (ct,) = Path(folder).rglob("ct.nii.gz")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        for lang in ("en", "fr"):
            options = ViewOptions(open=False, lang=lang)
            viewing = Viewing(find_views(ct, [ct.parent / "segmentations"]), options)
            with served(viewing.app()) as client:
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.set_default_timeout(PATIENCE_MS)
                page.goto(f"{client.base_url}/{viewing.secret}/")
                page.wait_for_selector("body[data-ready]")
                page.click("[data-name=liver] .name")
                page.wait_for_timeout(500)
                _keep(page.screenshot(), PICTURES / f"view_{lang}.png")
                page.close()
        _picture_of_run(browser, Path(folder) / "trained")


def _picture_of_run(browser: Browser, folder: Path) -> None:
    """A small run on a few made scans, while it trains."""
    make_tiny_dataset(folder / "data")
    seen: list[object] = []
    listener = Listener(on_epoch=seen.append, should_stop=lambda: len(seen) > EPOCHS_SHOWN)
    train_run(
        folder / "data", folder / "run", make_config(epochs=EPOCHS, export=False, pictures=("cube", "ball")), listener
    )
    run = find_run(folder / "run")
    assert run is not None
    viewing = RunViewing(run, ViewOptions(open=False))
    with served(viewing.app()) as client:
        page = browser.new_page(viewport={"width": 1280, "height": 1180})
        page.goto(f"{client.base_url}/{viewing.secret}/")
        page.wait_for_selector("body[data-ready]")
        for tick in page.locator(".row input").all():
            tick.check()
        page.locator(".pictures img").evaluate("it => it.decode()")
        page.wait_for_timeout(500)
        _keep(page.screenshot(), PICTURES / "view_run.png")
        page.close()


def _keep(png: bytes, path: Path) -> None:
    """With fewer colours, which a page of a scan does not need all of."""
    path.write_bytes(png)
    Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()

"""Make the pictures of the pages in docs/how-to from phantoms; needs Chromium.

.venv/bin/python docs/view_pictures.py [view] [serve] [run]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.browser.conftest import ARGUMENTS, PATIENCE_MS  # noqa: E402
from tests.server.conftest import write_series, zipped  # noqa: E402
from tests.server.running import served  # noqa: E402
from tests.training.tiny import make_config  # noqa: E402
from tests.training.tiny import make_dataset as make_tiny_dataset  # noqa: E402
from tomoseg.options import ViewOptions  # noqa: E402
from tomoseg.server.offers import offers_of  # noqa: E402
from tomoseg.server.run_viewing import RunViewing  # noqa: E402
from tomoseg.server.serving import ServerSettings, make_app  # noqa: E402
from tomoseg.server.viewing import Viewing  # noqa: E402
from tomoseg.settings import Language  # noqa: E402
from tomoseg.training.listener import Listener  # noqa: E402
from tomoseg.workflows.phantom import make_dataset  # noqa: E402
from tomoseg.workflows.train import train_run  # noqa: E402
from tomoseg.workflows.view import find_views  # noqa: E402
from tomoseg.workflows.watched_run import find_run  # noqa: E402

PICTURES = PROJECT / "docs" / "pictures"
LANGUAGES: tuple[Language, ...] = ("en", "fr")
COLOURS = 256
EPOCHS, EPOCHS_SHOWN = 20, 14


def main() -> None:
    """The pictures of the pages that are named, or of all."""
    makers = {"view": _pictures_of_view, "serve": _pictures_of_server, "run": _picture_of_run}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        for name in sys.argv[1:] or makers:
            makers[name](browser, Path(folder) / name)


def _phantom(folder: Path, spacing_mm: float) -> Path:
    """The CT of a phantom, beside its masks."""
    make_dataset(folder / "phantom", {"train": 1, "validation": 0, "test": 0}, 0, spacing_mm)
    (ct,) = folder.rglob("ct.nii.gz")
    return ct


def _opened(browser: Browser, address: str, height: int = 800) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": height})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return page


def _pictures_of_view(browser: Browser, folder: Path) -> None:
    ct = _phantom(folder, 2.5)
    for lang in LANGUAGES:
        _pictures_in(browser, ct, lang)


def _pictures_in(browser: Browser, ct: Path, lang: Language) -> None:
    """A phantom with its masks; in English one of them while it is corrected, too."""
    options = ViewOptions(open=False, lang=lang, reviewer="A. Reader")
    viewing = Viewing(find_views(ct, [ct.parent / "segmentations"]), options)
    with served(viewing.app()) as client:
        page = _opened(browser, f"{client.base_url}/{viewing.secret}/")
        page.click("[data-name=liver] .name")
        page.wait_for_timeout(500)
        _keep(page.screenshot(), PICTURES / f"view_{lang}.png")
        if lang != "en":
            page.close()
            return
        page.click("[data-do=alone]")
        page.keyboard.press("e")
        page.get_by_role("button", name="9", exact=True).click()
        box = page.locator(".views").bounding_box()
        assert box is not None
        for across, down in ((0.21, 0.2), (0.212, 0.24), (0.218, 0.28)):
            page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
        page.wait_for_timeout(500)
        _keep(page.screenshot(), PICTURES / "view_correct_en.png")
        page.close()


def _pictures_of_server(browser: Browser, folder: Path) -> None:
    """The list of jobs: one that is corrected, one of which a series is to be chosen, one that failed."""
    ct = _phantom(folder, 6.0)
    (folder / "study.zip").write_bytes(zipped(write_series(folder / "dicom")))
    (folder / "damaged.nii.gz").write_bytes(ct.read_bytes()[:1000])
    with served(make_app(ServerSettings(folder / "server", offers_of([Path("head-neck")])))) as client:
        page = _opened(browser, f"{client.base_url}/")
        for number, file in enumerate((ct, folder / "study.zip", folder / "damaged.nii.gz")):
            page.get_by_label("Choose files").set_input_files(file)
            page.locator("tr[data-state=done], tr[data-state=failed]").nth(number).wait_for()
        page.click("[data-do=look]")
        page.wait_for_selector("body[data-ready='Job 1']")
        page.locator(".row:not(.absent) .name").first.click()
        page.keyboard.press("e")
        page.click("[data-do=save]")
        page.wait_for_selector("text=Saved as version 1.")
        page.click("[data-do=jobs]")
        for lang in LANGUAGES:
            page.wait_for_selector("body[data-ready=jobs]")
            page.wait_for_selector("tr[data-state=failed]")
            _keep(page.screenshot(), PICTURES / f"serve_{lang}.png")
            page.click("[data-do=language]")
        page.close()


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
        page = _opened(browser, f"{client.base_url}/{viewing.secret}/", 1180)
        for tick in page.locator(".row input").all():
            tick.check()
        page.locator(".pictures img").evaluate("it => it.decode()")
        page.wait_for_timeout(500)
        _keep(page.screenshot(), PICTURES / "view_run.png")
        page.close()


def _keep(png: bytes, path: Path) -> None:
    """With fewer colours, which a page of a scan does not need all of."""
    path.write_bytes(png)
    Image.open(path).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


if __name__ == "__main__":
    main()

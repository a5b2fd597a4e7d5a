"""Time to show a page and to hide a structure, in a browser with software rendering.

    python benchmarks/pages.py                 # 128 x 128 x 128 voxels, 117 structures
    python benchmarks/pages.py --edge 256 --pages 3 --toggles 20

Writes a whole-body phantom with a label map, serves it by `tomoseg view`, and opens it in Chromium with SwiftShader. A
page is shown when its scan, masks and list are; a toggle is over when the last pixel of it is drawn, which reading a
pixel back waits for. The first page waits for the scan to be read.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import machine
from playwright.sync_api import Browser, Page, sync_playwright

from tomoseg.files.nifti import write_nifti
from tomoseg.files.results import write_label_map
from tomoseg.labels import LabelSet
from tomoseg.masks import structure_mask
from tomoseg.phantom import make_phantom
from tomoseg.segmentation import LabelMap
from tomoseg.volume import SourceGrid

SOFTWARE = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WINDOW = {"width": 1280, "height": 800}
LAYOUTS = ("Axial", "Planes and 3D")
SHOWN_SECONDS, TOGGLE_MS = 2.0, 100.0
"""Target times."""

TOGGLE = """number => {
  const canvas = document.querySelector(".view canvas");
  const gl = canvas.getContext("webgl2");
  const tick = document.querySelectorAll(".row input")[number];
  const began = performance.now();
  tick.click();
  gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  return performance.now() - began;
}"""


def make_case(folder: Path, edge: int) -> int:
    """Write a scan and its label map of `edge` voxels per side; return the number of structures."""
    phantom = make_phantom(0, spacing_mm=(3.0, 3.0, 5.0), field_of_view="whole")
    index = np.ix_(*(np.arange(edge) * n // edge for n in phantom.hu.shape))
    labels = LabelSet.total()
    values = np.zeros((edge, edge, edge), np.uint8, order="F")
    for number, structure in enumerate(labels):
        values[structure_mask(phantom.packed, number)[index]] = structure.id
    grid = SourceGrid(values.shape, np.diag([3.0, 3.0, 6.0, 1.0]))
    write_nifti(folder / "ct.nii.gz", np.asfortranarray(phantom.hu[index]), grid)
    write_label_map(LabelMap(values, labels, grid), folder / "masks.nii.gz")
    return len(np.unique(values)) - 1


def shown(browser: Browser, address: str) -> tuple[Page, float]:
    """Open a page; return it and the seconds until all of it was shown."""
    page = browser.new_page(viewport=WINDOW)
    page.set_default_timeout(300_000)
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return page, time.perf_counter() - began


def toggles(page: Page, layout: str, count: int) -> list[float]:
    """Return the ms of hiding and showing structures one after the other."""
    page.get_by_role("button", name=layout, exact=True).click()
    page.wait_for_timeout(500)
    rows = page.locator(".row").count()
    return [page.evaluate(TOGGLE, (number // 2) % rows) for number in range(count)]


def line(what: str, values: list[float], unit: str, aim: float) -> str:
    """Return the median, the worst, and whether the target is met, as text."""
    median = statistics.median(values)
    met = "met" if median <= aim else "missed"
    return f"{what}: median {median:.3g} {unit}, worst {max(values):.3g} of {len(values)}; at most {aim:g} is {met}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--pages", type=int, default=5)
    parser.add_argument("--toggles", type=int, default=40)
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        structures = make_case(folder, given.edge)
        print(f"{given.edge} voxels a side, {structures} structures with voxels of 117 in the list, window 1280 x 800")
        command = [sys.executable, "-m", "tomoseg", "view", folder / "ct.nii.gz", folder / "masks.nii.gz", "--no-open"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(SOFTWARE))
        try:
            assert server.stdout is not None
            address = next(found[0] for one in server.stdout if (found := re.search(r"http://\S+", one)))
            first, seconds = shown(browser, address)  # the server ends with its last page, so this one stays
            print(f"first page, while the scan is read: {seconds:.3g} s")
            taken = []
            for _ in range(given.pages):
                page, seconds = shown(browser, address)
                taken.append(seconds)
                page.close()
            print(line("page shown", taken, "s", SHOWN_SECONDS))
            for layout in LAYOUTS:
                print(line(f"toggle, {layout}", toggles(first, layout, given.toggles), "ms", TOGGLE_MS))
        finally:
            browser.close()
            server.kill()


if __name__ == "__main__":
    main()

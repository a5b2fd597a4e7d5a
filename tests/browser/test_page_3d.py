"""The page in 3D from a file, without a server: what is drawn, what the mouse tells, and that nothing is asked for."""

import io
from collections import Counter

import numpy as np
import pytest

from tomoseg.labels import LabelSet
from tomoseg.pictures.page_3d import write_page_3d
from tomoseg.segmentation import LabelMap
from tomoseg.volume import SourceGrid

pytest.importorskip("skimage", reason="needs scikit-image")

TOTAL = LabelSet.total()
SHOWN = TOTAL.subset(
    ["liver", "spleen", "kidney_left", "kidney_right", "aorta", "rib_left_1", "rib_right_1", "femur_left"]
)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """Cubes side by side, four in each of two rows, as they are seen from the front."""
    values = np.zeros((44, 12, 24), np.uint8)
    for n, structure in enumerate(SHOWN):
        x, z = 2 + 11 * (n % 4), 2 + 11 * (n // 4)
        values[x : x + 8, 2:10, z : z + 8] = structure.id
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page_3d(LabelMap(values, SHOWN, SourceGrid(values.shape, np.diag([2.0, 2.0, 2.0, 1.0]))), path, "Cubes")
    return path


@pytest.fixture
def looked(chromium, page_file):
    yield from opened(chromium, page_file)


def opened(chromium, page_file):
    page = chromium.new_page(viewport={"width": 900, "height": 600})
    requests, faults = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    page.goto(page_file.as_uri())
    page.wait_for_selector("body[data-drawn]")
    yield page
    assert requests == [page_file.as_uri()]
    assert faults == []
    page.close()


@pytest.fixture(params=["result", "reference"])
def without_masks(request, chromium, tmp_path):
    """A page whose result, or whose reference, has no mask."""
    grid = SourceGrid((12, 12, 12), np.diag([2.0, 2.0, 2.0, 1.0]))
    full, empty = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    full[2:10, 2:10, 2:10] = TOTAL.structures[TOTAL.channel("liver")].id
    result, reference = (empty, full) if request.param == "result" else (full, empty)
    maps = [LabelMap(values, SHOWN, grid) for values in (result, reference)]
    write_page_3d(maps[0], tmp_path / "page.html", "Empty", reference=maps[1])
    yield from ((page, request.param) for page in opened(chromium, tmp_path / "page.html"))


def drawn(page, do):
    """Do something, wait until it is drawn, and count the pixels of each colour."""
    from matplotlib.image import imread  # Pillow's reader, which Matplotlib brings along

    before = page.evaluate("document.body.dataset.drawn")
    do()
    page.wait_for_function("before => document.body.dataset.drawn !== before", arg=before)
    read = imread(io.BytesIO(page.locator("main").screenshot()), format="png")
    pixels = (read[:, :, :3] * 255).round().astype(np.uint8)
    return Counter(map(tuple, pixels.reshape(-1, 3).tolist()))


def test_each_structure_is_drawn_in_its_colour_and_named(looked):
    front = looked.get_by_role("button", name="Front", exact=True)
    colours = drawn(looked, front.click)
    assert min(colours[one.colour] for one in SHOWN) > 200  # what faces the viewer has it to the last bit

    colours = drawn(looked, looked.get_by_role("button", name="None", exact=True).click)
    assert not set(colours) & {one.colour for one in SHOWN}
    looked.get_by_role("searchbox").fill("aorté")
    assert looked.locator(".row:visible").count() == 1
    looked.locator(".row:visible input").check()
    colours = drawn(
        looked, lambda: looked.mouse.move(450, 20)
    )  # away from the row, whose structure is lighter meanwhile
    assert {one.name for one in SHOWN if colours[one.colour] > 200} == {"aorta"}

    looked.locator(".row:visible button").click()  # goes to it, so that it is in the middle
    looked.wait_for_timeout(100)
    box = looked.locator("#view").bounding_box()
    looked.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    looked.wait_for_selector("#told:visible")
    assert looked.locator("#told").inner_text().strip() == "aorta · 4.1 ml"  # 8³ voxels of 8 mm³
    looked.get_by_role("button", name="Français", exact=True).click()
    assert looked.locator(".row:visible button").inner_text() == "aorte"
    assert looked.locator("summary:visible").first.inner_text().split()[0] == "vaisseaux"
    assert looked.get_by_role("button", name="De face", exact=True).is_visible()


def test_it_is_turned_zoomed_and_cut(looked):
    def to_front():
        looked.get_by_role("button", name="Front", exact=True).click()

    front = drawn(looked, to_front)
    box = looked.locator("#view").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def turn():
        looked.mouse.move(x, y)
        looked.mouse.down()
        looked.mouse.move(x + 150 * np.pi / 2, y)  # a quarter
        looked.mouse.up()
        looked.wait_for_timeout(200)

    aside = drawn(looked, turn)
    hidden = [one.name for one in SHOWN if front[one.colour] > 200 > 10 * aside[one.colour]]
    assert len(hidden) == 6  # of each row the nearest hides the others

    drawn(looked, to_front)
    looked.mouse.move(x, y)
    near = drawn(looked, lambda: looked.mouse.wheel(0, -300))
    assert sum(near[one.colour] for one in SHOWN) > 1.2 * sum(front[one.colour] for one in SHOWN)

    def cut(share):
        looked.locator("#cut").evaluate(
            "(it, share) => { it.value = share; it.dispatchEvent(new Event('input')); }", share
        )

    assert not set(drawn(looked, lambda: cut(1))) & {one.colour for one in SHOWN}


def test_it_says_why_nothing_is_drawn(without_masks):
    page, side = without_masks
    told = page.locator("#empty")
    sides = {"result": "Prediction", "reference": "Reference"}
    page.get_by_role("button", name=sides.pop(side), exact=True).click()
    expected = {
        "result": "There is nothing to show: none of the structures was found.",
        "reference": "There is nothing to show: the reference has no mask of these structures.",
    }
    assert told.inner_text() == expected[side]
    page.get_by_role("button", name="Français", exact=True).click()
    assert told.inner_text().startswith("Il n'y a rien à montrer")
    page.get_by_role("button", name="English", exact=True).click()
    page.get_by_role("button", name=sides.popitem()[1], exact=True).click()
    assert not told.is_visible()
    page.get_by_role("button", name="None", exact=True).click()
    assert told.inner_text() == "Nothing is shown: select structures in the list."


def test_it_says_that_no_structure_matches_and_what_cannot_be_shown_alone(looked):
    alone = looked.get_by_role("button", name="Alone", exact=True)
    assert alone.is_disabled()  # no structure is chosen yet
    search = looked.get_by_role("searchbox")
    search.fill("xyz")
    assert looked.locator("#unmatched").inner_text() == "No structure matches the search."
    search.fill("")
    assert not looked.locator("#unmatched").is_visible()
    looked.locator("[data-name=liver] button").click()
    drawn(looked, alone.click)
    assert looked.locator(".row input:checked").count() == 1


def test_on_paper_are_the_figure_as_it_is_and_the_structures_that_are_shown(looked):
    looked.locator("[data-name=spleen] input").uncheck()
    looked.emulate_media(media="print")
    canvas = looked.locator("#view")
    assert canvas.evaluate("one => getComputedStyle(one).objectFit") == "contain"  # paper has another shape
    assert canvas.is_visible()
    assert looked.get_by_role("button", name="Front", exact=True).is_hidden()
    assert looked.locator(".row:visible").count() == len(SHOWN) - 1
    assert looked.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"

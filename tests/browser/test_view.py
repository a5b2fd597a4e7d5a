"""The page of `tomoseg view`, as a person uses it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.browser.drawn import counts, make_opaque, middle_of, pixels, show_alone
from tomoseg.files.nifti import read_geometry, read_label_map, read_mask, write_nifti
from tomoseg.files.results import write_label_map
from tomoseg.labels import LabelSet
from tomoseg.options import ViewOptions
from tomoseg.segmentation import LabelMap
from tomoseg.server.viewing import Viewing
from tomoseg.volume import SourceGrid
from tomoseg.workflows.view import find_views
from tomoseg.workflows.view_cases import Views

TOTAL = LabelSet.total()
IN_BOTH, IN_THE_MASK = (150, 150, 150), (66, 133, 244)
WITHOUT_WEBGL2 = """
const own = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : own.call(this, kind, ...rest);
};
"""

SLOW_SECOND_CASE = """
const own = window.fetch;
window.fetch = async (path, ...rest) => {
  if (String(path).endsWith("cases/1")) await new Promise((wake) => setTimeout(wake, 1000));
  return own.call(window, path, ...rest);
};
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A scan whose 117 structures are cubes of 8 voxels, 11 a row, in one layer."""
    folder = tmp_path_factory.mktemp("view")
    values = np.zeros((110, 110, 16), np.uint8)
    for n, structure in enumerate(TOTAL):
        x, y = 10 * (n % 11), 10 * (n // 11)
        values[x + 1 : x + 9, y + 1 : y + 9, 4:12] = structure.id
    grid = SourceGrid(values.shape, np.diag([-2.0, -2.0, 2.5, 1.0]))
    values = grid.to_canonical(values)
    write_nifti(folder / "ct.nii.gz", np.where(values > 0, 40, -1000).astype(np.int16), grid)
    write_label_map(LabelMap(values, TOTAL, grid), folder / "masks.nii.gz")
    return folder


@pytest.fixture
def viewing(files):
    return Viewing(find_views(files / "ct.nii.gz", [files / "masks.nii.gz"]), ViewOptions(open=False))


@pytest.fixture
def look(opened):
    """Opens the page of what is viewed."""
    return lambda viewing, scripts=(): opened(viewing.app(), f"/{viewing.secret}/", scripts=scripts)


def test_each_of_117_structures_has_its_own_colour_to_the_last_bit(look, viewing):
    assert len({structure.colour for structure in TOTAL}) == 117
    with look(viewing) as looked:
        make_opaque(looked.page)
        found = counts(looked.page)
        areas = [found[structure.colour] for structure in TOTAL]
        assert min(areas) > 200
        assert max(areas) < 3 * min(areas)  # the cross hides a part of those under it
        assert looked.elsewhere == []
        assert looked.faults == []


def test_structures_are_ticked_searched_and_gone_to(look, viewing):
    with look(viewing) as looked:
        page = looked.page
        make_opaque(page)
        page.get_by_role("button", name="None", exact=True).click()
        page.wait_for_timeout(200)
        bare = pixels(page)
        assert not set(counts(page)) & {structure.colour for structure in TOTAL}
        page.keyboard.press("o")
        page.wait_for_timeout(300)
        np.testing.assert_array_equal(bare, pixels(page))  # what is hidden has no outline either
        page.keyboard.press("o")
        page.get_by_role("searchbox").fill("Clavicule dróite")  # in the other language, too
        assert page.locator(".row:visible").count() == 1
        page.locator(".row:visible input").check()
        page.locator(".row:visible .name").click()
        page.wait_for_timeout(200)
        shown = set(counts(page)) & {structure.colour for structure in TOTAL}
        assert shown == {TOTAL["clavicula_right"].colour}
        foot = page.locator(".foot").inner_text()
        assert "clavicula right" in foot
        # the file's x and y run to the left and to the back, so that the second cube of its row lies at -12 mm and -2
        n = TOTAL.channel("clavicula_right")
        x, y = -2 * (10 * (n % 11) + 4), -2 * (10 * (n // 11) + 4)
        assert f"L {-x}.0  P {-y}.0" in foot or f"L {2 - x}.0  P {2 - y}.0" in foot
        assert "5.12 ml" in page.locator("[data-name=clavicula_right]").inner_text()  # 8³ voxels of 10 mm³
        page.keyboard.press("a")
        page.keyboard.press("s")
        assert page.locator(".row input:checked").count() == 1
        assert page.locator("summary input:checked").count() == 0
        page.get_by_role("searchbox").fill("")
        page.keyboard.press("a")
        page.get_by_role("button", name="Planes and 3D").click()
        page.locator("input[type=range]").evaluate("it => { it.value = 0.5; it.dispatchEvent(new Event('input')); }")
        page.locator("[data-name=spleen] input").uncheck()
        page.wait_for_timeout(400)
        toggled = pixels(page)
        page.keyboard.press("o")  # outlines, and without them again: all is drawn anew by the graphics card
        page.keyboard.press("o")
        page.wait_for_timeout(400)
        np.testing.assert_allclose(toggled, pixels(page), atol=1)


def test_the_page_speaks_french_and_windows_change_by_key(look, viewing):
    with look(viewing) as looked:
        page = looked.page
        page.keyboard.press("3")
        assert page.locator("[aria-pressed=true]", has_text="Bone").count() == 1
        page.evaluate("window.dispatchEvent(new KeyboardEvent('keydown', { key: 'é', code: 'Digit2' }))")
        assert page.locator("[aria-pressed=true]", has_text="Lung").count() == 1  # a French keyboard without shift
        page.keyboard.press("3")
        assert page.locator("[aria-pressed=true]", has_text="Bone").count() == 1
        page.get_by_role("button", name="Français").click()
        assert page.locator("[data-name=liver]").inner_text().startswith("foie")
        assert page.locator("[aria-pressed=true]", has_text="Os").count() == 1
        assert page.evaluate("document.documentElement.lang") == "fr"


@pytest.mark.parametrize("scripts", [[], [WITHOUT_WEBGL2]], ids=["webgl2", "without"])
def test_the_right_and_the_front_are_on_the_left_and_clicks_go_there(look, viewing, scripts):
    """In each row of the scan the first structure lies furthest to the right; the first row lies at the front."""
    with look(viewing, scripts=scripts) as looked:
        page = looked.page
        page.locator("[data-name=spleen] .name").click()
        for layout, neighbour in (
            ("Axial", TOTAL.names[1]),
            ("Coronal", TOTAL.names[1]),
            ("Sagittal", TOTAL.names[11]),
        ):
            make_opaque(page, layout)
            near, far = (middle_of(page, TOTAL[name].colour) for name in ("spleen", neighbour))
            assert near[0] < far[0] - 10
            page.mouse.click(*far)
            page.wait_for_timeout(300)
            assert neighbour.replace("_", " ") in page.locator(".foot").inner_text()
            page.locator("[data-name=spleen] .name").click()
        assert looked.faults == []


@pytest.mark.parametrize("scripts", [[], [WITHOUT_WEBGL2]], ids=["webgl2", "without"])
def test_letters_of_the_sides_are_those_of_the_language(look, viewing, scripts):
    """Right and left have other letters in French (D, G), which no sagittal slice shows."""
    with look(viewing, scripts=scripts) as looked:
        page = looked.page
        for layout, differ in (("Coronal", True), ("Sagittal", False)):
            make_opaque(page, layout)
            english = pixels(page)
            page.locator("[data-do=language]").click()
            page.wait_for_timeout(300)
            assert (english != pixels(page)).any() == differ
            assert page.locator(".foot").inner_text()[0] == "G"
            page.locator("[data-do=language]").click()
            page.wait_for_timeout(300)
            np.testing.assert_array_equal(english, pixels(page))
        assert looked.faults == []


def test_without_webgl2_there_are_slices(look, viewing):
    with look(viewing, scripts=[WITHOUT_WEBGL2]) as looked:
        assert "no WebGL2" in looked.page.locator(".notes").inner_text()
        make_opaque(looked.page)
        found = counts(looked.page)
        assert min(found[structure.colour] for structure in TOTAL) > 200
        assert looked.page.get_by_role("button", name="3D", exact=True).count() == 0
        assert looked.faults == []


@pytest.fixture
def correcting(files, tmp_path):
    views = find_views(files / "ct.nii.gz", [files / "masks.nii.gz"])
    return Viewing(views, ViewOptions(open=False, reviewer="A. Person"), tmp_path / "corrections")


def test_a_structure_is_corrected_and_comes_back_on_its_own_voxels(look, correcting, files):
    spleen = TOTAL["spleen"]
    with look(correcting) as looked:
        page = looked.page
        show_alone(page, "spleen")
        x, y = middle_of(page, spleen.colour)
        page.keyboard.press("e")
        page.locator("[data-do=erase]").click()
        page.get_by_role("button", name="3", exact=True).click()
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.up()
        page.locator("[data-do=save]").click()
        page.wait_for_selector("text=Saved as version 1.")
        assert "corrected, version 1" in page.locator("[data-name=spleen]").inner_text()
        assert page.locator(".correcting").count() == 0
        _check_cube(correcting.corrections, spleen)

        page.keyboard.press("e")  # again, with undo and what is left out in between
        page.locator("[data-do=erase]").click()
        page.get_by_role("button", name="25", exact=True).click()
        page.mouse.click(x, y)
        page.locator("[data-do=undo]").click()
        page.mouse.click(x, y)
        page.locator("[data-do=interpolate]").click()
        page.wait_for_selector("text=Slices filled: 1.")
        page.locator("[data-do=save]").click()
        page.wait_for_selector("text=Saved as version 2.")
        assert looked.faults == []
    folder = correcting.corrections / correcting.views.cases[0].name
    assert sorted(path.name for path in folder.iterdir()) == ["0001", "0002"]
    again = read_mask(folder / "0002" / "spleen.nii.gz")
    np.testing.assert_array_equal(again, read_label_map(files / "masks.nii.gz") == spleen.id)


def test_eight_steps_are_undone_and_none_before_the_first(look, correcting):
    with look(correcting) as looked:
        page = looked.page
        show_alone(page, "spleen")
        x, y = middle_of(page, TOTAL["spleen"].colour)
        voxel = (counts(page)[TOTAL["spleen"].colour] / 8**2) ** 0.5
        for strokes, kept in ((0, 0), (10, 2)):
            page.keyboard.press("e")
            page.locator("[data-do=erase]").click()
            page.get_by_role("button", name="1", exact=True).click()
            for n in range(strokes):
                page.mouse.click(x + (n % 5 - 1.5) * voxel, y + (n // 5 + 0.5) * voxel)
            for _ in range(12):
                page.keyboard.press("Control+z")
            page.locator("[data-do=save]").click()
            page.wait_for_selector(f"text=Saved as version {1 + (strokes > 0)}.")
            newest = sorted(correcting.corrections.rglob("spleen.nii.gz"))[-1]
            assert read_mask(newest).sum() == 8**3 - kept


def _check_cube(corrections, structure):
    """In the file's own voxels, three by three of the cube's middle are gone, in the slice that was shown."""
    (path,) = corrections.rglob("spleen.nii.gz")
    grid = read_geometry(path)
    values = grid.from_canonical(read_mask(path))
    n = TOTAL.channel(structure.name)
    x, y = 10 * (n % 11) + 1, 10 * (n // 11) + 1
    cube = values[x : x + 8, y : y + 8, 4:12]
    assert values.sum() == cube.sum() == 8**3 - 9
    lost = np.argwhere(~cube)
    assert len(set(lost[:, 2])) == 1
    assert np.abs(lost[:, :2].mean(axis=0) - 3.5).max() <= 0.5
    record = json.loads((path.parent / "correction.json").read_text())
    assert (record["who"], record["structure"], record["version"]) == ("A. Person", "spleen", 1)
    assert record["when"].endswith("+00:00")


def test_cases_one_after_the_other_with_verdicts(look, files, tmp_path):
    values = read_label_map(files / "masks.nii.gz")
    values[values == TOTAL["spleen"].id] = 0
    write_label_map(LabelMap(values, TOTAL, read_geometry(files / "masks.nii.gz")), tmp_path / "reference.nii.gz")
    (shown,) = find_views(files / "ct.nii.gz", [files / "masks.nii.gz"], tmp_path / "reference.nii.gz").cases
    cases = tuple(replace(shown, name=name, score=n / 4) for n, name in enumerate("abc"))
    viewing = Viewing(Views("scores", cases, tmp_path, "Dice"), ViewOptions(reviewer="me"), tmp_path / "corrections")
    with look(viewing) as looked:
        page = looked.page
        assert "Dice 1.000" in page.locator("[data-name=liver]").inner_text()
        page.keyboard.press("w")
        page.wait_for_selector("[data-do='needs work'][aria-pressed=true]")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("body[data-ready=b]")
        page.keyboard.press("r")
        page.wait_for_selector("[data-do='right'][aria-pressed=true]")
        assert page.locator("option").all_inner_texts() == [
            "1/3 a · Dice 0.000 · needs work",
            "2/3 b · Dice 0.250 · right",
            "3/3 c · Dice 0.500",
        ]
        make_opaque(page)
        page.locator("[data-name=spleen] .name").click()
        assert {TOTAL["spleen"].colour, TOTAL["liver"].colour} <= counts(page).keys()
        page.keyboard.press("d")
        page.wait_for_selector("text=only in the reference")
        page.wait_for_timeout(300)
        found = counts(page)
        assert found[IN_BOTH] > 100 * found[IN_THE_MASK] / 2 > 0
        assert TOTAL["spleen"].colour not in found
        page.locator("[data-name=liver] .name").click()
        page.keyboard.press("e")  # while it is corrected, the reference of it stays to be seen
        page.wait_for_timeout(300)
        assert (np.hsplit(pixels(page), 2)[1] == TOTAL["liver"].colour).all(axis=2).sum() > 100
        page.locator("[data-do=stop]").click()
        page.keyboard.press("n")  # without masks both sides are the same, the cross too
        page.wait_for_timeout(500)
        left, right = np.hsplit(pixels(page)[40:], 2)
        np.testing.assert_array_equal(left[:, 1:], right[:, 1:])
        assert looked.faults == []
    lines = (tmp_path / "corrections" / "reviews.csv").read_text().splitlines()
    assert [line.rsplit(",", 1)[0] for line in lines] == ["case,verdict,who", "a,needs work,me", "b,right,me"]


def test_what_is_shown_is_of_the_case_that_was_asked_for_last(look, files, tmp_path):
    (case,) = find_views(files / "ct.nii.gz", [files / "masks.nii.gz"]).cases
    cases = (replace(case, name="a"), replace(case, name="b", masks=None), replace(case, name="c"))
    viewing = Viewing(Views("out", cases, tmp_path), ViewOptions(reviewer="me"), tmp_path / "corrections")
    with look(viewing, scripts=[SLOW_SECOND_CASE]) as looked:
        page = looked.page
        page.locator("[data-name=spleen] .name").click()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("e")  # what is on the screen is of the case before
        page.keyboard.press("w")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("body[data-ready=c]")
        page.wait_for_timeout(500)
        assert page.locator("h1").inner_text() == "c"
        assert page.locator(".row").count() == 117
        assert page.locator(".correcting, [aria-pressed=true][data-do='needs work']").count() == 0
        page.locator("input[type=range]").focus()
        page.keyboard.press("ArrowLeft")  # of the slider, not of the cases
        assert page.locator("h1").inner_text() == "c"
        assert page.locator("input[type=range]").input_value() == "0.45"
        assert looked.faults == []
    assert not (tmp_path / "corrections").exists()


def test_a_hostile_name_is_shown_as_text(look, tmp_path):
    name = "<img src=x onerror=document.title='broken'>"
    labels = LabelSet.from_names(["x' onclick=document.title='broken' y='", "&amp;liver"])
    values = np.zeros((12, 12, 12), np.uint8)
    values[2:6, 2:6, 2:6] = 1
    grid = SourceGrid(values.shape, np.eye(4))
    write_nifti(tmp_path / f"{name}.nii.gz", values.astype(np.int16), grid)
    write_label_map(LabelMap(values, labels, grid), tmp_path / "masks.nii.gz")
    viewing = Viewing(find_views(tmp_path / f"{name}.nii.gz", [tmp_path / "masks.nii.gz"]), ViewOptions())
    with look(viewing) as looked:
        assert looked.page.locator("h1").inner_text() == name
        assert looked.page.locator("h1 img").count() == 0
        assert looked.page.locator(".row .name").all_inner_texts() == sorted(labels.names)
        looked.page.locator(".row .name").first.click()
        assert looked.page.title() != "broken"
        assert looked.elsewhere == []


def test_what_cannot_be_shown_is_told(look, files, tmp_path):
    grid = SourceGrid((10, 10, 4), np.eye(4))
    write_label_map(LabelMap(np.ones((10, 10, 4), np.uint8), TOTAL, grid), tmp_path / "other.nii.gz")
    viewing = Viewing(find_views(files / "ct.nii.gz", [tmp_path / "other.nii.gz"]), ViewOptions())
    with look(viewing) as looked:
        told = looked.page.get_by_role("alert").inner_text()
        assert "expected the grid of" in told


def test_by_keyboard_alone_the_focus_stays_where_it_is(look, viewing):
    with look(viewing) as looked:
        page = looked.page
        page.get_by_role("button", name="Lung", exact=True).focus()
        for _ in range(2):
            page.keyboard.press("Enter")
            assert page.evaluate("() => document.activeElement.textContent") == "Lung"
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        reached = page.locator(":focus")
        assert (reached.inner_text(), reached.get_attribute("aria-pressed")) == ("Bone", "true")
        unnamed = page.locator("button, input, select, canvas").evaluate_all(
            "all => all.filter(it => !(it.textContent || it.ariaLabel || it.labels?.length)).length"
        )
        assert unnamed == 0


def test_a_scan_without_masks_is_shown_alone(look, files):
    alone = Viewing(find_views(files / "ct.nii.gz", []), ViewOptions(open=False))
    with look(alone) as looked:
        page = looked.page
        assert page.locator(".notes").inner_text() == "There are no masks: the scan is shown alone."
        assert page.locator("[data-do=correct], [data-do=right], input[type=search]").count() == 0
        page.set_viewport_size({"width": 400, "height": 800})
        page.wait_for_timeout(200)
        canvas, view = page.locator("canvas").bounding_box(), page.locator(".view").bounding_box()
        assert view["x"] < canvas["x"]  # letters at its edges stand apart from what is beside it
        assert canvas["x"] + canvas["width"] < view["x"] + view["width"] == 400
        assert page.evaluate("document.scrollingElement.scrollWidth") == 400


def test_a_search_without_a_result_says_so_and_alone_needs_a_structure(look, viewing):
    with look(viewing) as looked:
        page = looked.page
        alone = page.locator("[data-do=alone]")
        assert alone.is_disabled()
        page.get_by_role("searchbox").fill("xyz")
        assert page.locator(".unmatched").inner_text() == "No structure matches the search."
        page.get_by_role("searchbox").fill("liver")
        assert not page.locator(".unmatched").is_visible()
        page.locator("[data-name=liver] .name").click()
        assert alone.is_enabled()


def test_the_ratings_of_cases_are_named_in_french(look, files):
    views = find_views(files / "ct.nii.gz", [files / "masks.nii.gz"])
    (case,) = views.cases
    cases = (replace(case, score=0.5), replace(case, name="b", score=0.75))
    viewing = Viewing(replace(views, cases=cases, measure="self-rating"), ViewOptions(open=False, lang="fr"))
    with look(viewing) as looked:
        assert "note du modèle 0,500" in looked.page.get_by_label("Cas").inner_text()

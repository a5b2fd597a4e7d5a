"""The page of `tomoseg serve`: from a file that is dropped to its masks, in a real browser with real workers."""

import gzip
import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from nibabel import Nifti1Image

from tests.browser.drawn import middle_of, show_alone
from tests.server.conftest import write_scan, write_series, zipped
from tests.workflows.hu_models import make_model
from tomoseg.files.nifti import write_nifti
from tomoseg.server.guard import make_token
from tomoseg.server.offers import offers_of
from tomoseg.server.serving import ServerSettings, make_app
from tomoseg.volume import SourceGrid


@pytest.fixture
def settings(tmp_path):
    model = make_model(tmp_path / "models" / "hu")
    return ServerSettings(tmp_path / "server", offers_of([model]))


def test_from_a_scan_to_its_masks(opened, settings, tmp_path):
    scan = write_scan(tmp_path / "Surname^Name.nii.gz", 0)
    with opened(make_app(settings), "/") as looked:
        page = looked.page
        page.get_by_label("Choose files").set_input_files(scan)
        page.wait_for_selector("tr[data-state=done]")
        with page.expect_download() as download:
            page.locator("[data-do=download]").click()
        assert download.value.suggested_filename == "tomoseg_1.zip"
        page.get_by_role("button", name="Français").click()
        page.wait_for_selector("text=terminée")
        page.locator("[data-do=look]").click()
        page.wait_for_selector(".row")
        page.wait_for_selector("body[data-ready='Tâche 1']")
        assert page.locator(".row:not(.absent)").count() >= 1
        assert looked.elsewhere == []
        assert looked.faults == []
    kept = [path for path in settings.folder.rglob("*") if path.is_file()]
    assert kept
    assert not any("Surname" in path.name or b"Surname" in path.read_bytes() for path in kept)


@pytest.fixture
def block(tmp_path):
    """A scan with a block of 12 x 10 x 8 voxels of 250 HU, which the model takes for `ball`, in a flipped file."""
    hu = np.random.default_rng(0).integers(-20, 20, (30, 26, 16)).astype(np.int16)
    hu[9:21, 8:18, 4:12] += 270
    grid = SourceGrid(hu.shape, np.diag([-2.0, -2.0, 2.5, 1.0]))
    path = tmp_path / "block.nii.gz"
    write_nifti(path, grid.to_canonical(hu), grid)
    return path


def _masks(download):
    """The masks of a zip, in the voxels of the file."""
    with zipfile.ZipFile(download.value.path()) as archive:
        names = [name for name in archive.namelist() if name.endswith(".nii.gz")]
        read = {name: Nifti1Image.from_bytes(gzip.decompress(archive.read(name))) for name in names}
        others = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith((".json", ".csv"))}
    return {name.removesuffix(".nii.gz"): np.asarray(one.dataobj) for name, one in read.items()}, others


def test_a_mask_is_corrected_shown_after_a_reload_and_downloaded(opened, settings, block):
    with opened(make_app(settings), "/") as looked:
        page = looked.page
        page.get_by_label("Choose files").set_input_files(block)
        page.wait_for_selector("tr[data-state=done]")
        page.locator("[data-do=look]").click()
        page.wait_for_selector("body[data-ready='Job 1']")
        show_alone(page, "ball")
        x, y = middle_of(page, _colour(page, "ball"))
        page.keyboard.press("e")
        page.locator("[data-do=erase]").click()
        page.get_by_role("button", name="3", exact=True).click()
        page.mouse.click(x, y)
        page.get_by_label("Who").fill("A. Person")
        page.locator("[data-do=save]").click()
        page.wait_for_selector("text=Saved as version 1.")
        page.reload()
        page.wait_for_selector("[data-name=ball] >> text=corrected, version 1")
        with page.expect_download() as download:
            page.locator("[data-do=download]").click()
        before, _ = _masks(download)
        with page.expect_download() as download:
            page.locator("[data-do=download-corrected]").click()
        assert download.value.suggested_filename == "tomoseg_1_corrected.zip"
        after, others = _masks(download)
        page.locator("[data-do=jobs]").click()
        page.wait_for_selector("tr >> text=done, corrected (1)")
        assert page.locator("[data-do=download-corrected]").count() == 1
        assert (looked.elsewhere, looked.faults) == ([], [])
    lost = np.argwhere(before["ball"].astype(bool) & ~after["ball"].astype(bool))
    assert before["ball"].sum() == 12 * 10 * 8
    assert len(lost) == before["ball"].sum() - after["ball"].sum() == 9
    assert len(set(lost[:, 2])) == 1
    assert np.abs(lost[:, :2].mean(axis=0) - [14.5, 12.5]).max() <= 0.5
    np.testing.assert_array_equal(after["cube"], before["cube"])
    (said,) = json.loads(others["corrections.json"])["corrections"]
    assert (said["who"], said["structure"], said["voxels"]) == ("A. Person", "ball", 12 * 10 * 8 - 9)


def _drop(page, *paths):
    """Drop files or folders onto the page, as the browser itself does it."""
    box = page.locator(".drop").bounding_box()
    browser = page.context.new_cdp_session(page)
    place = {"x": box["x"] + 5, "y": box["y"] + 5}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})


def test_a_dropped_folder_is_a_scan_and_of_two_series_in_a_zip_one_is_chosen(opened, settings, tmp_path):
    slices = write_series(tmp_path / "dicom")
    (tmp_path / "study.zip").write_bytes(zipped(slices))
    (tmp_path / "two scans").mkdir()
    for seed in (5, 6):
        write_scan(tmp_path / "two scans" / f"{seed}.nii.gz", seed)
    with opened(make_app(settings), "/") as looked:
        page = looked.page
        _drop(page, slices / "one")
        page.wait_for_selector("tr[data-state=done]")
        _drop(page, tmp_path / "study.zip")
        page.wait_for_selector("tr[data-state=failed] >> text=There are several series. Choose one:")
        choices = page.locator("[data-do=series]")
        assert choices.count() == 2
        assert ["series number 1" in text for text in choices.all_inner_texts()] == [True, False]
        choices.nth(1).click()
        page.locator("tr[data-state=done]").nth(1).wait_for()
        page.locator("tr[data-state=done] [data-do=look]").first.click()
        page.wait_for_selector("body[data-ready='Job 3']")
        assert page.locator(".row:not(.absent)").count() >= 1
        page.locator("[data-do=jobs]").click()
        page.wait_for_selector("body[data-ready=jobs]")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose a folder").click()
        chooser.value.set_files(tmp_path / "two scans")
        page.locator("tr[data-state=done]").nth(3).wait_for()
        assert (looked.elsewhere, looked.faults) == ([], [])


def _colour(page, name):
    patch = page.locator(f"[data-name={name}] .patch").evaluate("it => it.style.backgroundColor")
    return tuple(map(int, re.findall(r"\d+", patch)))


def test_what_is_no_scan_is_told_and_removed(opened, settings, tmp_path):
    write_nifti(tmp_path / "one.nii.gz", np.zeros((4, 4), np.int16)[:, :, None], SourceGrid((4, 4, 1), np.eye(4)))
    (tmp_path / "text.nii.gz").write_text("no scan")
    with opened(make_app(settings), "/") as looked:
        page = looked.page
        page.get_by_label("Choose files").set_input_files(tmp_path / "text.nii.gz")
        page.wait_for_selector("tr[data-state=failed]")
        assert "failed: expected" in page.locator("tbody").inner_text()
        page.get_by_role("button", name="Français").click()
        page.wait_for_selector(
            "text=échouée : il faut un fichier NIfTI (un scanner peut aussi être en DICOM, NRRD ou MetaImage)"
        )
        page.locator("[data-do=remove]").click()
        page.wait_for_selector("tr[data-job]", state="detached")


def test_a_server_with_a_token_asks_for_it(opened, tmp_path, settings):
    app = make_app(replace(settings, asks_for_token=True))
    token = make_token(app.state.service.database)
    app = make_app(replace(settings, asks_for_token=True))
    with opened(app, "/", wait="input[type=password]") as looked:
        page = looked.page
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Enter").click()
        assert page.get_by_role("alert").inner_text().startswith("expected the token of this server, got another")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-ready=jobs]")
        assert "hu" in page.get_by_label("Model").inner_text()


def test_the_list_is_explained_when_empty_and_fits_a_telephone(opened, settings, tmp_path):
    (tmp_path / "text.nii.gz").write_text("no scan")
    with opened(make_app(settings), "/") as looked:
        page = looked.page
        page.wait_for_selector("text=No scan has been sent yet.")
        assert not page.locator("table").is_visible()
        page.get_by_label("Choose files").set_input_files(tmp_path / "text.nii.gz")
        page.wait_for_selector("tr[data-state=failed]")
        assert not page.locator(".none").is_visible()
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.locator(".jobs").evaluate("one => one.scrollWidth") == 400
        assert page.locator("td.state").bounding_box()["width"] > 300


def test_from_a_job_that_is_gone_a_link_leads_back(opened, settings):
    with opened(make_app(settings), "/#job=removed", wait="[role=alert]") as looked:
        looked.page.get_by_role("link", name="All jobs").click()
        looked.page.wait_for_selector("body[data-ready=jobs]")

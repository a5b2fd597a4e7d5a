"""The page of `tomoseg serve`: from a file that is dropped to its masks, in a real browser with real workers."""

from dataclasses import replace

import numpy as np
import pytest

from tests.server.conftest import write_scan
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


def test_what_is_no_scan_is_told_and_removed(opened, settings, tmp_path):
    write_nifti(tmp_path / "one.nii.gz", np.zeros((4, 4), np.int16)[:, :, None], SourceGrid((4, 4, 1), np.eye(4)))
    (tmp_path / "text.nii.gz").write_text("no scan")
    with opened(make_app(settings), "/") as looked:
        page = looked.page
        page.get_by_label("Choose files").set_input_files(tmp_path / "text.nii.gz")
        page.wait_for_selector("tr[data-state=failed]")
        assert "failed: expected" in page.locator("tbody").inner_text()
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
        page.wait_for_selector("input[type=password]")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-ready=jobs]")
        assert "hu" in page.get_by_label("Model").inner_text()

"""`tomoseg view --save`: masks as a page, from whatever they are named by."""

import pytest

from tests.example_files import write_example_files
from tests.pictures.test_page_3d import read
from tomoseg.cli import main
from tomoseg.errors import ConfigError, DatasetError, InputError
from tomoseg.options import ViewOptions
from tomoseg.workflows.view_page import save_page

pytest.importorskip("skimage", reason="needs scikit-image")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_example_files(folder)
    return folder


def told(path):
    about, *_ = read(path)
    return [(one["name"], *one["volumes_ml"]) for one in about["structures"]]


# 9 x 11 x 6 voxels of the liver, 5 x 11 x 6 of the spleen, of 0.64 ml each
LIVER_ML, SPLEEN_ML = 380.16, 211.2


@pytest.mark.parametrize(
    ("place", "masks"), [("masks", []), ("map.nii.gz", []), ("ct.nii.gz", ["masks"]), ("ct.nii.gz", ["map.nii.gz"])]
)
def test_masks_alone_or_after_their_scan(files, tmp_path, place, masks):
    size = save_page(files / place, [files / one for one in masks], tmp_path / "page.html")
    assert size == (tmp_path / "page.html").stat().st_size
    assert told(tmp_path / "page.html") == [("spleen", SPLEEN_ML, None), ("liver", LIVER_ML, None)]


@pytest.mark.parametrize(("place", "masks"), [("map.nii.gz", []), ("ct.nii.gz", ["map.nii.gz"])])
def test_with_a_reference_that_lacks_a_structure(files, tmp_path, place, masks):
    reference = files / "masks" / "liver.nii.gz"
    options = ViewOptions(lang="fr")
    save_page(files / place, [files / m for m in masks], tmp_path / "p.html", against=reference, options=options)
    about, *_ = read(tmp_path / "p.html")
    assert told(tmp_path / "p.html") == [("spleen", SPLEEN_ML, None), ("liver", LIVER_ML, LIVER_ML)]
    assert [one["dice"] for one in about["structures"]] == [None, 1.0]
    assert (about["lang"], about["sides"]) == ("fr", ["Prediction", "Reference"])


def test_what_is_no_page_or_no_masks_is_refused(files, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"page\.png: expected the name of a page to save, such as page\.html, got"):
        save_page(files / "masks", [], tmp_path / "page.png")
    with pytest.raises(InputError, match="none: expected masks, got nothing at that path; check it"):
        save_page(files / "none", [], tmp_path / "page.html")
    with pytest.raises(DatasetError, match="expected masks of one scan, or of one called DATASET, got those of 4"):
        save_page(files / "DATASET", [], tmp_path / "page.html")
    monkeypatch.setattr("tomoseg.packages.is_installed", lambda module: module != "skimage")
    with pytest.raises(ConfigError, match=r"expected scikit-image, found none; run: pip install"):
        save_page(files / "masks", [], tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_where_the_page_is(files, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["view", str(files / "map.nii.gz"), "--save", str(page)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{page}: 0.0 MB; open it in a browser; it needs no server and no network" in printed
    assert main(["view", str(files / "masks"), "--save", str(page), "--corrections", "kept", "--reviewer", "me"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "expected --save alone, got --corrections, --reviewer with it; leave that out" in said

"""`tomoseg view` of a run, up to where its page is served."""

import pytest

from tests.workflows.test_watched_run import make_run
from tomoseg.cli import main
from tomoseg.server import until_closed
from tomoseg.server.run_viewing import RunViewing


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["masks"], "masks"),
        (["--against", "masks", "--series", "2"], "--against, --series"),
        (["--corrections", "kept"], "--corrections"),
        (["--format", "nrrd"], "--format"),
    ],
)
def test_what_says_nothing_about_a_run_is_refused(tmp_path, capsys, more, named):
    assert main(["view", str(make_run(tmp_path / "run")), *more, "--no-open"]) == 2
    assert f"expected a run folder alone, got {named} with it; leave that out" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(
    ("host", "end"), [("127.0.0.1", "Fermez la page, ou appuyez sur"), ("0.0.0.0", "\nAppuyez sur Ctrl-C")]
)
def test_a_run_is_shown_and_how_it_ends_is_told(tmp_path, capsys, monkeypatch, host, end):
    shown = []

    def serve(viewing, on_address):
        shown.append(viewing)
        on_address("http://here/")

    monkeypatch.setattr(until_closed, "run_until_closed", serve)
    assert main(["view", str(make_run(tmp_path / "run")), "--host", host, "--lang", "fr", "--no-open"]) == 0
    assert isinstance(shown[0], RunViewing)
    assert shown[0].options.lang == "fr"
    assert end in capsys.readouterr().out


def test_what_is_no_scan_is_refused_before_a_page_is_opened(tmp_path, capsys):
    path = tmp_path / "notes.txt"
    path.write_text("no scan", encoding="utf-8")
    assert main(["view", str(path), "--no-open"]) == 2
    told = capsys.readouterr()
    assert "notes.txt: expected a NIfTI file (a scan may also be DICOM, NRRD or MetaImage)" in told.err
    assert "http" not in told.out

from pathlib import Path

from tomoseg.checks.findings import CheckReport, Finding
from tomoseg.checks.holdings import Holdings
from tomoseg.pictures.check_page import write_check_page


def test_the_page_says_that_not_all_findings_have_a_picture(tmp_path):
    findings = [Finding.warning("empty", "Nothing.", f"case {n}", "liver") for n in range(3)]
    report = CheckReport(Path("data"), 3, 3, findings, (), Holdings.of([], ()), ())
    path = tmp_path / "check.html"
    write_check_page(report, "data", path, most=2)
    assert "Only the first 2 of the 3 findings in cases have pictures" in path.read_text()
    write_check_page(report, "data", path, most=3)
    assert "Pictures are of" not in path.read_text()


def test_structures_that_are_not_annotated_have_french_names_too(tmp_path):
    lacking = {"a": ("esophagus", "kidney_left")}
    report = CheckReport(Path("data"), 1, 1, [], (), Holdings(1, {}, lacking, None), ())
    write_check_page(report, "data", tmp_path / "check.html", lang="fr")
    assert "<li>a\xa0: œsophage, rein gauche</li>" in (tmp_path / "check.html").read_text(encoding="utf-8")

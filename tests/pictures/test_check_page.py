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

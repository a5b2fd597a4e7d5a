from tests.terminal.screen import run_on_terminal
from tomoseg.notices import Notice
from tomoseg.terminal import console


def test_names_are_no_markup(capsys):
    console.fail({"[red]a[/x]:smile:": r"C:\[b] was [i]not[/i] read"})
    console.error("[/]")
    console.warn_all([str(number) for number in range(5)], at_most=3)
    console.out.print("[bold]x[/y] :cat:")
    shown = capsys.readouterr()
    assert shown.out == "[bold]x[/y] :cat:\n"
    assert shown.err.splitlines() == [
        r"failed: [red]a[/x]:smile:: C:\[b] was [i]not[/i] read",
        "error: [/]",
        *(f"warning: {number}" for number in range(3)),
        "warning: and 2 more",
    ]


def test_what_terminals_take_for_commands_is_not_printed(capsys):
    console.out.print("licence\x1b]0;title\x07\tMIT\n\x9b2J")
    console.error("a\x1b[2Jb")
    console.table("t", ["name"], [["x\x00"]])
    shown = capsys.readouterr()
    assert shown.out.startswith("licence?]0;title?\tMIT\n?2J\n") or shown.out.startswith("licence?]0;title? ")
    assert "x?" in shown.out
    assert shown.err == "error: a?[2Jb\n"


def test_the_decisive_are_told_first_and_never_left_out(capsys):
    tilts = [Notice(f"tilt {n}", "tilt") for n in range(3)]
    grave = [Notice(f"grave {n}", "not HU") for n in range(4)]
    told = [*tilts, "of the dataset", *grave[:2], Notice("files", "left out"), *grave[2:]]
    console.warn_all(told, at_most=5, elsewhere="see x")
    assert capsys.readouterr().err.splitlines() == [
        *(f"warning: grave {n}" for n in range(4)),
        "warning: tilt 0",
        "warning: and 4 less important ones; see x",
    ]
    console.warn_all(grave, at_most=2)
    assert capsys.readouterr().err.splitlines() == [f"warning: grave {n}" for n in range(4)]


def test_a_table(capsys):
    console.table("Title", ("a", "b", "c"), [("[x]", None, 0.12345), ("y" * 90, 7, "z")])
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    assert rows == [["[x]", "-", "0.123"], ["y" * 90, "7", "z"]]


SENTENCE = "The scan measures 300 mm from head to feet; look at scans/of/a/patient/with/a/long/name/ct.nii.gz first."


def test_text_in_a_terminal_goes_on_between_words():
    code = f"from tomoseg.terminal.console import error, out; out.print({SENTENCE!r}); error({SENTENCE!r})"
    stood, status = run_on_terminal(["-c", code], columns=40)
    assert status == 0
    lines = [line for line in stood[-1] if line]
    assert lines[:5] == [
        "The scan measures 300 mm from head to",
        "feet; look at",
        # longer than a line, so that the terminal itself breaks it
        "scans/of/a/patient/with/a/long/name/ct.n",
        "ii.gz",
        "first.",
    ]
    assert lines[5] == "error: The scan measures 300 mm from"


def test_text_elsewhere_is_a_line(capsys):
    console.out.print(SENTENCE)
    assert capsys.readouterr().out == f"{SENTENCE}\n"

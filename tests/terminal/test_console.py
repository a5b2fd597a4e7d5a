from contextlib import nullcontext

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


def test_progress_draws_nothing_without_a_terminal(capsys):
    with console.progress_bar() as bar:
        bar.advance(bar.add_task("a", total=2, info="[/x]"))
    assert capsys.readouterr() == ("", "")


def test_progress_of_one_task_draws_nothing_without_a_terminal(capsys):
    with console.progress("a") as show:
        show(0, 3)
        show(1, None, "[/x]")
    assert capsys.readouterr() == ("", "")


def test_progress_of_one_task(monkeypatch):
    shown = []

    class Bar:
        def add_task(self, what, total, info):
            shown.append((what, total, info))
            return 7

        def update(self, task, completed, total, info):
            shown.append((task, completed, total, info))

    monkeypatch.setattr(console, "progress_bar", lambda: nullcontext(Bar()))
    with console.progress("check") as show:
        show(0, 3)
        show(1, info="s0")
    assert shown == [("check", None, ""), (7, 0, 3, ""), (7, 1, None, "s0")]

"""Every command speaks French when it is asked to."""

import pytest

from tomoseg.cli import COMMANDS, main
from tomoseg.cli.language import language_of
from tomoseg.cli.reading import own_flags
from tomoseg.cli.running import command_of
from tomoseg.errors import ConfigError
from tomoseg.language.words import spoken


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_language_once(command):
    assert own_flags(command_of(command)).count("--lang") == 1


@pytest.mark.parametrize(
    ("argv", "variable", "wanted"),
    [
        ([], None, "en"),
        (["a", "--lang", "fr"], None, "fr"),
        (["--lang=fr"], None, "fr"),
        (["a"], "fr", "fr"),
        (["a", "--lang", "en"], "fr", "en"),
        (["a"], "", "en"),
    ],
)
def test_a_flag_goes_over_the_variable(argv, variable, wanted, monkeypatch):
    if variable is None:
        monkeypatch.delenv("TOMOSEG_LANG", raising=False)
    else:
        monkeypatch.setenv("TOMOSEG_LANG", variable)
    assert language_of(argv) == wanted


def test_a_language_that_is_not_known_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("TOMOSEG_LANG", "de")
    with pytest.raises(ConfigError, match="TOMOSEG_LANG: expected en or fr, got 'de'; correct it"):
        language_of([])
    assert main(["models"]) == 2
    assert capsys.readouterr().err == "error: TOMOSEG_LANG: expected en or fr, got 'de'; correct it\n"


@pytest.mark.parametrize("how", ["flag", "variable", "file"])
def test_an_error_is_told_in_french(how, tmp_path, monkeypatch, capsys):
    lang = tmp_path / "lang.yaml"
    lang.write_text("lang: fr\n", encoding="utf-8")
    if how == "variable":
        monkeypatch.setenv("TOMOSEG_LANG", "fr")
    more = {"flag": ["--lang", "fr"], "variable": [], "file": ["--config", str(lang)]}[how]
    assert main(["predict", "-i", str(tmp_path / "none"), "-o", str(tmp_path / "out"), *more]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert spoken() == "en"  # again, for whatever this process does next
    assert told.startswith("erreur : ")
    assert "il n'y a rien ; vérifiez le chemin" in told

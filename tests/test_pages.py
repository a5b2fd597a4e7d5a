"""The commands that pages for newcomers show run as they stand, on small scans and with a step of training.

What is started by other programs, waits for a browser or fetches something is compared with what there is instead.
"""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.example_files import GRID, body, write_example_files
from tests.nnunet_files import write_training
from tests.server.conftest import write_series
from tests.test_examples import blocks
from tests.test_examples import run as run_python
from tomoseg.cli import COMMANDS, main, others
from tomoseg.cli.others import translate_options
from tomoseg.cli.reading import own_flags
from tomoseg.cli.running import command_of
from tomoseg.errors import ConfigError
from tomoseg.files.nifti import write_nifti

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
EVERY_PAGE = (PROJECT / "README.md", PROJECT / "README.fr.md", *sorted(DOCS.rglob("*.md")))
PAGES = (
    "install.md",
    "first-scan.md",
    "train-on-your-scans.md",
    "how-to/from-totalsegmentator.md",
    "how-to/from-nnunet.md",
    "how-to/nnunet-models.md",
    "how-to/my-dice-is-0.md",
    "how-to/slicer.md",
    "how-to/pacs.md",
    "how-to/viewers.md",
    "how-to/check-a-dataset.md",
    "how-to/own-structures.md",
    "how-to/postprocessing.md",
)
TRAINED = ("tomoseg preprocess dataset -o preprocessed", "tomoseg train preprocessed -o run")
BEFORE = dict.fromkeys(("how-to/my-dice-is-0.md", "how-to/viewers.md", "how-to/postprocessing.md"), TRAINED)
"""What was done before a page is read."""
SLOW = {"first-scan.md", "train-on-your-scans.md", "how-to/from-nnunet.md", "how-to/my-dice-is-0.md"}
"""Pages whose commands take more than ten seconds."""
IN_FRENCH = {
    "install.md": "fr/installation.md",
    "first-scan.md": "fr/premier-scanner.md",
    "train-on-your-scans.md": "fr/entrainer.md",
    "tutorial.md": "fr/tutoriel.md",
}
NOT_RUN = {"view", "serve", "fetch", "download", "demo", "tune"}
"""They wait for a browser, listen, need the network, take minutes, or need more patients than there are here."""
FETCHED = "total-3mm"
"""A model that is not there without a download."""
OF_OTHERS = {"pip", "python", "python3", ".", "cd", "storescu", "storescp", "ssh", "curl", "dcmdump", "torchrun"}
IN_LITTLE = {
    "train": ["--preset", "default", "--network.channels", "8", "16", "--workers", "0", "--steps", "1"],
    "preprocess": ["--workers", "1"],
}
"""What is put behind a command; of `train` in the place of its minutes."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with everything that pages name."""
    folder = tmp_path_factory.mktemp("pages")
    write_example_files(folder)
    shutil.rmtree(folder / "masks")
    shutil.rmtree(folder / "PREPROCESSED")
    shutil.copytree(folder / "DATASET", folder / "dataset")
    (folder / "scans").mkdir()
    for number, name in enumerate(("anna", "bert")):
        write_nifti(folder / "scans" / f"{name}.nii.gz", body(number)[0], GRID)
    write_series(folder / "dicom")
    shutil.copytree(folder / "dicom" / "one", folder / "incoming" / "scan_1")
    (folder / "dicom" / "one").rename(folder / "dicom_folder")
    for name in ("Dataset003_Organs", "Dataset291_organs"):
        write_training(folder / "nnUNet_results" / name)
    raw = folder / "nnUNet_raw" / "Dataset003_Organs"
    for number, name in enumerate(("anna", "bert", "carl")):
        hu, masks = body(number)
        write_nifti(raw / "imagesTr" / f"{name}_0000.nii.gz", hu, GRID)
        values = masks["liver"] + 2 * masks["spleen"].astype(np.uint8)
        write_nifti(raw / "labelsTr" / f"{name}.nii.gz", values, GRID)
    labels = {"background": 0, "liver": 1, "spleen": 2}
    said = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 3, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(said), encoding="utf-8")
    return folder


def lines_of(page: str) -> list[str]:
    """The commands of a page, without comments and with what was broken over several lines in one."""
    found = re.findall(r"^```sh\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    whole = re.sub(r"\\\n *", "", "".join(found)).splitlines()
    return [line for line in (re.sub(r"(^|\s)#.*$", "", line).strip() for line in whole) if line]


@pytest.mark.parametrize("page", [pytest.param(p, marks=[pytest.mark.slow] if p in SLOW else []) for p in PAGES])
def test_the_commands_of_a_page_run(page, small, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(small, tmp_path / "here")
    monkeypatch.chdir(folder)
    lines = lines_of(page)
    assert lines
    for line in [*BEFORE.get(page, ()), *lines]:
        words = shlex.split(line)
        if words[0] != "tomoseg":
            assert words[0] in OF_OTHERS, line
        elif words[1] in NOT_RUN or FETCHED in words:
            _check_flags(words[1:])
        else:
            status = _status(_in_little(words[1:]))
            told = capsys.readouterr()
            assert status in ((0, 1) if words[1] == "check" else (0,)), f"{line}\n{told.out}\n{told.err}"


@pytest.mark.parametrize(("english", "french"), list(IN_FRENCH.items()))
def test_the_french_page_has_the_same_commands(english, french):
    def in_any_language(page):
        return [line.replace(" --lang fr", "") for line in lines_of(page)]

    assert in_any_language(french) == in_any_language(english)
    assert blocks(f"docs/{french}") in ([], blocks(f"docs/{english}"))


def test_the_french_page_on_warnings_has_every_kind_of_the_english_one():
    def kinds(page):
        return re.findall(r"^\| `([a-zA-Z ]+)` \|", (DOCS / page).read_text(encoding="utf-8"), re.M)

    assert kinds("fr/avertissements.md") == kinds("how-to/warnings.md")


def test_the_french_page_on_refusals_has_every_row_of_the_english_one():
    """Rows are told apart by what stands in them as code, which no language changes."""

    def rows(page):
        lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
        return [sorted(re.findall(r"`([^`]+)`", line)) for line in lines if line.startswith("|")]

    assert rows("fr/entrees-refusees.md") == rows("how-to/bad-input.md")


def test_flags_of_totalsegmentator_are_understood_or_answered():
    """Those that the page lists: none is left to the parser, which would say that it is unknown."""
    page = (DOCS / "how-to" / "from-totalsegmentator.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`-.*?) \|", page, re.M)
    lines = [words for cell in cells for words in re.findall(r"`(--.*?)`", cell)]
    assert len(lines) > 15
    own = own_flags(command_of("predict"))
    for line in lines:
        try:
            words = translate_options("predict", line.split(), own)
        except ConfigError:
            continue
        assert {word.replace("_", "-") for word in words if word.startswith("--")} <= set(own), line


def test_commands_of_nnunet_are_answered():
    page = (DOCS / "how-to" / "from-nnunet.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(nnUNetv2_\w+)", page)) - {"nnUNetv2_export_model_to_zip"}  # here a folder is copied
    assert len(named) > 8
    assert {name.lower() for name in named} <= set(others.COMMANDS)


def _status(words):
    """Of a command that returns, or of `--version`, which ends the program."""
    try:
        return main(words)
    except SystemExit as ended:
        return ended.code


def _in_little(words):
    if "--minutes" in words and words[0] == "train":
        at = words.index("--minutes")
        words = words[:at] + words[at + 2 :]
    return [*words, *IN_LITTLE.get(words[0], ())]


def _check_flags(words):
    assert words[0] in COMMANDS, words
    flags = {word.partition("=")[0].replace("_", "-") for word in words[1:] if re.match(r"--?[a-z]", word)}
    switched = {re.sub(r"(--|\.)no-", r"\1", flag) for flag in flags - {"--help"}}
    assert switched <= set(own_flags(command_of(words[0]))), words


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(PROJECT)))
def test_commands_of_all_pages_have_the_flags_that_are_shown(page):
    """Also where they are not run, as in pages whose names stand for anything."""
    text = page.read_text(encoding="utf-8")
    shown = "".join(re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.M | re.S))
    for line in re.sub(r"\\\n *", "", shown).splitlines():
        command = re.match(r"(?:\w+=\S* )?tomoseg ([a-z].*?)( +#.*| &| \| .*)?$", line.strip())
        if command:
            _check_flags(shlex.split(command[1]))


@pytest.mark.parametrize("page", PAGES)
def test_what_is_to_be_installed_is_there(page):
    """Extras that have these names, of the package that lies here: it is on no index."""
    for line in re.findall(r"pip install [^`\n]+", (DOCS / page).read_text(encoding="utf-8")):
        assert re.fullmatch(r"""pip install (\.|['"]?\.\[[a-z,]+\]['"]?)( .*)?""", line.strip()), line
    project = (DOCS.parent / "pyproject.toml").read_text(encoding="utf-8")
    for extras in re.findall(r"\.\[([a-z,]+)\]", (DOCS / page).read_text(encoding="utf-8")):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", project, re.M), extra


@pytest.mark.parametrize("page", ["first-scan.md", "how-to/from-totalsegmentator.md"])
def test_the_python_of_a_page_runs(page, small):
    for example in blocks(f"docs/{page}"):
        run_python(example, small)

"""Messages that are composed of parts are told in French as a whole."""

import re

import numpy as np
import pytest

from tomoseg.checks.findings import kind_in_words
from tomoseg.cli.mistaken import ADVICE, WORDS
from tomoseg.cli.others import INSTEAD, translate_options
from tomoseg.errors import ConfigError, GridError
from tomoseg.language.sentences import sentence
from tomoseg.volume import SourceGrid, check_same_grid

FLAGS = [(command, flag) for command, flags in INSTEAD.items() for flag in flags]
ENGLISH = re.compile(
    r"\b(?:the|of|with|from|its|that|which|got|expected|and|was|no|not|by|this|are|in|to|it|an|leave)\b"
)
"""Words that no French message has but in what is typed."""


def english_in(french):
    return ENGLISH.findall(re.sub(r"`[^`]*`|--?[\w.-]+|\w+[-_]\w+[\w-]*", " ", french))


@pytest.mark.parametrize(("command", "flag"), FLAGS, ids=lambda one: one)
def test_flags_of_other_programs(command, flag):
    with pytest.raises(ConfigError, match=f"expected options of tomoseg {command}") as refusal:
        translate_options(command, [flag], [])
    told = sentence(str(refusal.value), "fr")
    assert told.startswith(f"il faut des options de tomoseg {command}")
    assert english_in(told) == []


@pytest.mark.parametrize(("wanted", "got"), ADVICE)
def test_exchanged_arguments(wanted, got):
    told = sentence(f"x/y: expected {WORDS[wanted]}, got {WORDS[got]}; {ADVICE[wanted, got]}", "fr")
    assert told.startswith("x/y\xa0: il faut ")
    assert english_in(told) == []


def test_differences_of_two_grids():
    grids = (SourceGrid((4, 4, 4), np.eye(4)), SourceGrid((4, 4, 5), np.diag([2.0, 1, 1, 1])))
    with pytest.raises(GridError, match="4 x 4 x 5 voxels, not 4 x 4 x 4; voxel size along x") as refusal:
        check_same_grid(*grids, "the reference", "the result")
    told = sentence(str(refusal.value), "fr")
    assert "4 x 4 x 5 voxels, pas 4 x 4 x 4\xa0; taille des voxels selon x de 2 mm, pas 1" in told
    assert "la référence" in told
    assert "le résultat" in told
    assert english_in(told) == []


@pytest.mark.parametrize(
    ("text", "french"),
    [
        (
            "Empty masks: 3, of 2 structures (liver in 2 of 5 cases, spleen in 1 of 5 cases), which means absent from "
            "these scans. If nobody looked for them, delete the files, or remove the names from the label map's list: "
            "not annotated is not the same as absent.",
            "liver dans 2 cas sur 5, spleen dans 1 cas sur 5",
        ),
        (
            "Voxels measure 5 mm from left to right, 5 mm from back to front; the model was trained on 0.5 to 1.5 mm. "
            "Expect worse masks, and look at them.",
            "5 mm de gauche à droite, 5 mm d'arrière en avant\xa0; le modèle a été entraîné sur 0,5 à 1,5 mm",
        ),
        ("Left out: images of modality SEG (2), localizers (1).", "images de modalité SEG (2), topogrammes (1)"),
        ("2 masks without a file among the predictions, counted as empty: a liver", "comptés comme vides\xa0: a liver"),
        (
            "a.nii: expected a CT scan, got a dose grid; pass the scan itself, or the option `force` to segment it "
            "anyway",
            "une grille de dose",
        ),
    ],
)
def test_lists_and_notes(text, french):
    told = sentence(text, "fr")
    assert french in told
    assert english_in(told.replace("a liver", "")) == []


def test_a_message_in_a_sentence_of_its_own():
    told = "ct.nii\xa0: le fichier est vide\xa0; copiez-le ou téléchargez-le à nouveau"
    text = "ct.nii: expected a file with content, got an empty one; copy or download it again"
    assert sentence(f"{text}.", "fr") == f"{told}."


def test_names_stay_as_they_are():
    text = "scan: expected 3 axes, got 4 (512, 512, 30, 2); pass one volume"
    assert sentence(text, "fr").startswith("scan\xa0: il faut 3 axes")


def test_kinds_of_findings():
    assert kind_in_words("in two splits", "fr") == "dans deux parties"
    assert kind_in_words("in two splits", "en") == "in two splits"


def test_where_a_mask_lies_in_the_body():
    text = (
        "Its centre lies 27% of the body's depth from the patient's back; 42% is usual (38% to 44%). Check that the "
        "mask belongs to the scan."
    )
    assert "27\xa0% du corps (profondeur, depuis le dos du patient), contre" in sentence(text, "fr")

"""Finished English sentences, told in French."""

import errno
import os
import re
from functools import cache

import pytest

from tomoseg.errors import unknown_name_message
from tomoseg.language import sentences
from tomoseg.language.sentences import SENTENCE, figures, sentence
from tomoseg.language.words import speak, texts
from tomoseg.notices import Notice, gathered

PATTERNS = {key.removeprefix(SENTENCE): said for key, said in texts("fr").items() if key.startswith(SENTENCE)}
HOLE = re.compile(r"{(\d+)(:text)?}")


@pytest.fixture(autouse=True, scope="module")
def values_told_once():
    """Each sentence has the same ones, and each value is looked for in all sentences."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentences, "_told", cache(sentences._told))
        yield


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern[:50])
def test_a_sentence_is_told_by_its_own_pattern_with_its_values_in_their_places(pattern):
    values = [f"v{n}.nii/" for n in range(12)]
    english, french = (HOLE.sub(lambda hole: f"{{{hole[1]}}}", text) for text in (pattern, PATTERNS[pattern]))
    assert sentence(english.format(*values), "fr") == french.format(*values)


def test_sentences_by_hand():
    shape = "s.nii.gz: expected 3 axes, got 4 (512, 512, 30, 2); pass one volume"
    assert sentence(shape, "fr") == "s.nii.gz\xa0: il faut 3 axes, pas 4 (512, 512, 30, 2)\xa0; donnez un seul volume"
    assert sentence(shape, "en") == sentence(shape) == shape
    named = f"metrics: {unknown_name_message('dic', ['dice', 'iou'])}"
    told = "metrics\xa0: il faut l'un des 2 noms connus, pas 'dic'\xa0; vouliez-vous dire 'dice'\xa0?"
    assert sentence(named, "fr") == told


@pytest.mark.parametrize(
    ("got", "told"),
    [
        (os.strerror(errno.ENOENT), "fichier ou dossier introuvable"),
        (os.strerror(errno.EACCES), "permission refusée"),
        (str(OSError(errno.ECONNREFUSED, "Connection refused")), "connexion refusée"),
        (str(OSError(errno.ENOSPC, "No space left on device", "a b/c")), "plus de place sur le disque\xa0: 'a b/c'"),
    ],
)
def test_reasons_of_the_operating_system_are_told(got, told):
    assert sentence(f"s: expected scores, got: {got}; name a folder of --output", "fr") == (
        f"s\xa0: il faut des scores, mais\xa0: {told}\xa0; donnez un dossier de --output"
    )


def test_several_words_that_follow_a_verb_stay_grammatical():
    run = (
        "expected the dataset that this run was started with, got different grid and masks in pre; use that dataset or "
        "another run folder"
    )
    assert "commencé, pre s'en distingue par\xa0: grille et masques\xa0;" in sentence(run, "fr")
    alone = sentence("expected a run folder alone, got masks, --series with it; leave that out", "fr")
    assert "seul, vous donnez aussi\xa0: masques, --series\xa0;" in alone


def test_values_that_have_words_are_told_and_a_name_may_be_left_off():
    text = "expected a NIfTI file (a scan may also be DICOM, NRRD or MetaImage), got a zip archive; unpack it"
    told = (
        "il faut un fichier NIfTI (un scanner peut aussi être en DICOM, NRRD ou MetaImage), il y a une archive zip\xa0"
        "; décompressez-le"
    )
    assert sentence(f"s.nii: {text}", "fr") == f"s.nii\xa0: {told}"
    assert sentence(text, "fr") == told  # as a server says it of an upload


def test_a_part_that_is_a_sentence_of_its_own_is_told_too():
    tilt = (
        "The gantry was tilted by 12.5 degrees against the table; each slice was moved within its plane onto a "
        "straight grid. Masks can be mapped back onto the slices."
    )
    told = sentence(tilt, "fr")
    assert told.startswith(
        "Le statif était incliné de 12,5 degrés par rapport à la table\xa0; chaque coupe a été déplacée"
    )
    assert told.endswith("Les masques peuvent être ramenés sur les coupes.")


def test_names_before_a_sentence_stay_and_what_is_gathered_of_many_is_told():
    text = "Every voxel is {} HU; expected a scan. Check that the right file was exported."
    notices = [(f"s{n}", Notice(text.format(n), "one value")) for n in (3, 4)]
    (together,) = gathered(notices)
    assert sentence(str(together), "fr") == (
        "s3, s4\xa0: Chaque voxel vaut 3 UH, un scanner était attendu. Vérifiez que le bon fichier a été exporté. "
        "(Les chiffres sont ceux de s3.)"
    )
    more = sentence("a, b and 3 more: masks of another size", "fr")
    assert more == "a, b et 3 autres\xa0: des masques d'une autre taille"


@pytest.mark.parametrize("text", ["", "  ", "nobody ever says this", "x: one: two"])
def test_what_is_in_no_pattern_stays_as_it_is(text):
    assert sentence(text, "fr") == text


def test_a_short_pattern_does_not_swallow_another_sentence():
    # "expected {1}, got {2}" is one; this has two clauses more than that
    text = "expected an apple, got a pear; eat it, got it"
    assert sentence(text, "fr") == text


def test_a_process_that_speaks_french_tells_it_unasked():
    speak("fr")
    try:
        assert sentence("masks of another size") == "des masques d'une autre taille"
    finally:
        speak("en")


@pytest.mark.parametrize(
    ("value", "french"),
    [
        ("1.5", "1,5"),
        ("0.8 x 0.8 x 5", "0,8 x 0,8 x 5"),
        ("1.5, 2", "1,5 ; 2"),
        ("3, 4", "3, 4"),
        ("1,024 MB", "1\xa0024\xa0Mo"),
        ("-1024..3071", "-1024 à 3071"),
        ("0.5 and 12%", "0,5 et 12\xa0%"),
        ("liver and 3 more", "liver et 3 autres"),
        ("none", "aucun"),
        ("v1.5.nii", "v1.5.nii"),
        ("s3.5/ct", "s3.5/ct"),
    ],
)
def test_figures_in_values(value, french):
    assert figures(value, "fr") == french
    assert figures(value, "en") == value

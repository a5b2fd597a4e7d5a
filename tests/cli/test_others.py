"""Command lines of TotalSegmentator and nnU-Net: understood, or answered with what to use here."""

import re

import pytest

from tomoseg.cli import COMMANDS, main, others
from tomoseg.cli.others import translate_options
from tomoseg.cli.reading import own_flags
from tomoseg.cli.running import command_of
from tomoseg.errors import ConfigError


def words(command, line):
    return " ".join(translate_options(command, line.split(), own_flags(command_of(command))))


@pytest.mark.parametrize(
    ("command", "theirs", "ours"),
    [
        ("predict", "-i ct -o out -m m -ot dicom", "-i ct -o out -m m --format dicom-seg"),
        ("predict", "-i ct --output_type=dicom_rtstruct", "-i ct --format rtstruct"),
        ("predict", "-ml -rs spleen liver -s", "--ml --roi-subset spleen liver --statistics"),
        ("predict", "-p -d gpu:1", "--preview --device gpu:1"),
        ("predict", "--roi_subset spleen --ml", "--roi_subset spleen --ml"),
        ("predict", "-p --ml", "--preview --ml"),
        ("train", "p -o r --lr 0.01 --num_epochs=3", "p -o r --optimizer.learning-rate 0.01 --epochs=3"),
        ("train", "p -o r -pretrained_weights run", "p -o r --warm-start run"),
        ("preprocess", "data -o out -np 4", "data -o out --workers 4"),
        ("labels", "--lr", "--lr"),
    ],
)
def test_understood(command, theirs, ours):
    assert words(command, theirs) == ours


@pytest.mark.parametrize(
    ("command", "line", "answer"),
    [
        ("predict", "-i ct -o out --fast", "got --fast; a model has one resolution here"),
        ("predict", "-i ct -o out -f", "got -f; a model has one resolution here"),
        ("predict", "-i ct -o out -f 0 1", "-m RUN1 RUN2 averages several models"),
        (
            "predict",
            "-i ct -o out -ta total",
            "got -ta; -m takes a model folder, a packaged model or one that `tomoseg fetch` lists, and",
        ),
        ("predict", "-i ct -o out -d Dataset003_Liver", "got -d Dataset003_Liver; -m takes"),
        ("predict", "-i ct -o out -p nnUNetPlans", "got -p nnUNetPlans; -m takes"),
        ("predict", "-i ct -o out -ot mesh", "one of TotalSegmentator's words after -ot, got mesh; use --format"),
        ("predict", "-i ct -o out -ot", "got none; use --format"),
        ("predict", "-i ct --save_probabilities", "use --confidence"),
        ("predict", "-i ct --disable_tta", "unless --flips asks for it"),
        ("predict", "ct.nii.gz out", "`tomoseg predict -i CT -o OUT -m MODEL`"),
        ("train", "p -o r -tr nnUNetTrainer", "there are no trainers"),
        ("train", "p -o r -f 0", "tomoseg train --folds 5` trains all of them"),
        ("train", "p -o r --npz", "predict --confidence"),
        ("train", "p -o r --c", "the same command goes on where it was"),
        ("train", "3 3d_fullres 0", "there are no numbers of datasets, configurations or folds here"),
        ("preprocess", "-d 3", "the dataset's folder itself comes first"),
        ("evaluate", "-djfile a", "masks are compared by their names"),
    ],
)
def test_answered(command, line, answer):
    with pytest.raises(ConfigError, match=re.escape(answer)):
        words(command, line)


def test_a_flag_of_ours_keeps_its_meaning():
    for command, same in others.SAME.items():
        own = set(own_flags(command_of(command)))
        assert own & {*same, *others.INSTEAD.get(command, {})} == set()
        assert set(same.values()) <= own
        answers = " ".join(others.INSTEAD.get(command, {}).values())
        mentioned = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*[a-z]", answers))
        known = {flag for name in COMMANDS for flag in own_flags(command_of(name))} | {"--nproc-per-node"}
        assert mentioned <= known


@pytest.mark.parametrize(("theirs", "ours"), [("nnUNetv2_train", "train"), ("TotalSegmentator", "predict")])
def test_commands_of_others(theirs, ours, capsys):
    assert main([theirs, "3", "2d", "0"]) == 2
    assert f"got '{theirs}'; `tomoseg {ours} --help` says how it is done" in capsys.readouterr().err


def test_all_commands_of_others_are_some_of_ours():
    assert set(others.COMMANDS.values()) <= set(COMMANDS)
    assert [name for name in others.COMMANDS if name != name.lower()] == []

import hashlib
import json
import re
import shutil
from typing import get_args, get_type_hints

import numpy as np
import pytest

from tests.datasets.download.server import FileServer, dataset_files, serving, zip_of
from tests.terminal.shown import rows_in
from tests.workflows.datasets import GRID, SHAPE, scan, write_masks_case
from tests.workflows.predicting import make_model
from tomoseg.cli import main
from tomoseg.cli.export import export
from tomoseg.files.nifti import read_label_map, write_nifti
from tomoseg.inference.engines import ENGINES
from tomoseg.labels import LabelSet
from tomoseg.models.folder import weights_digest
from tomoseg.models.tuned import Tuned, save_tuned
from tomoseg.options import EngineName, Precision
from tomoseg.preprocessed.format import INDEX, DatasetIndex

CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture
def dataset(tmp_path):
    for seed in range(2):
        write_masks_case(tmp_path / "data" / f"s{seed}", ("liver", "spleen"), seed)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def ct(tmp_path):
    write_nifti(tmp_path / "s0.nii.gz", scan(), GRID)
    return tmp_path / "s0.nii.gz"


def run(*argv):
    return main([str(argument) for argument in argv])


def preprocess(dataset, output, *flags):
    return run("preprocess", dataset, "-o", output, "--workers", 1, *flags)


def grid_of(output):
    return DatasetIndex.load(output).grid


class TestDownload:
    def test_all_then_some_of_it(self, tmp_path, capsys):
        data = zip_of(dataset_files("s0", "s1"))
        with serving(FileServer(data)) as server:
            md5 = hashlib.md5(data).hexdigest()
            assert run("download", "--url", server.url, "--md5", md5, "--size", len(data), "-o", tmp_path / "a") == 0
            told = capsys.readouterr()
            assert told.out == f"2 cases in {tmp_path / 'a'}, 2 of them new\n"
            assert told.err == ""
            assert run("download", "--url", server.url, "-o", tmp_path / "b", "--cases", "s1", "--keep-archive") == 0
        told = capsys.readouterr()
        assert told.out == f"1 case in {tmp_path / 'b'}, 1 of them new\n"
        assert told.err.startswith(
            f"warning: {server.url} was not verified, since its MD5 sum is not known; pass --md5"
        )
        assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["meta.csv", "s1"]

    def test_a_named_dataset_from_a_mirror_that_has_another_one(self, tmp_path, capsys):
        with serving(FileServer(zip_of(dataset_files("s0011")))) as server:
            flags = ("--url", server.url, "--cases", "s0011")
            assert run("download", "totalsegmentator-small", "-o", tmp_path / "a", *flags) == 2
        assert "expected the same archive of 3244617817 bytes throughout, got one of" in capsys.readouterr().err
        assert not (tmp_path / "a").exists()

    def test_nothing_to_fetch(self, tmp_path, capsys):
        assert run("download", "-o", tmp_path) == 2
        assert capsys.readouterr().err.startswith("error: expected a dataset or --url, got neither; name totalsegm")
        assert run("download", "--url", "http://example.org/x.zip", "-o", tmp_path) == 2
        assert "expected https, got http; use https, or pass --allow-http" in capsys.readouterr().err


class TestLabels:
    def test_the_117(self, capsys):
        assert run("labels") == 0
        text = capsys.readouterr().out
        assert "117 structures" in text
        assert [name for name in LabelSet.total().names if name not in text] == []
        spleen = next(line for line in text.splitlines() if "spleen" in line)
        colour = "#{:02x}{:02x}{:02x}".format(*LabelSet.total()["spleen"].colour)
        assert [cell.strip() for cell in spleen.strip("│").split("│")] == ["spleen", "1", "organs", "78961009", colour]

    def test_of_a_dataset_and_of_a_preprocessed_one(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out") == 0
        for folder in (dataset, tmp_path / "out"):
            capsys.readouterr()
            assert run("labels", folder) == 0
            text = capsys.readouterr().out
            assert "2 structures" in text
            assert "liver" in text

    def test_of_a_dataset_it_says_what_it_holds(self, dataset, tmp_path, capsys):
        (dataset / "s1" / "segmentations" / "spleen.nii.gz").unlink()
        assert run("labels", dataset) == 0
        told = capsys.readouterr().out
        assert {("liver", "2"), ("spleen", "1")} <= set(rows_in(told))
        assert "1 mask in 1 case\n  s1: spleen\n" in told
        assert preprocess(dataset, tmp_path / "out") == 0
        capsys.readouterr()
        assert run("labels", tmp_path / "out") == 0
        # 2 x 3 x 2 voxels of 3 x 3 x 5 mm
        assert ("liver", "2", "0", "0.54", "0.54", "0.54") in rows_in(capsys.readouterr().out)

    def test_a_case_that_is_left_out_is_named_and_status_1(self, dataset, tmp_path, capsys):
        shutil.rmtree(dataset / "s1" / "segmentations")
        assert run("labels", dataset) == 1
        assert "s1: a scan without masks was left out" in capsys.readouterr().err
        assert preprocess(dataset, tmp_path / "out") == 1
        told = capsys.readouterr()
        assert told.out.splitlines()[-1].endswith("; 1 left out")
        assert "s1: a scan without masks was left out" in told.err

    def test_of_a_model_and_of_a_run(self, model, tmp_path, capsys):
        shutil.copytree(model, tmp_path / "run" / "best")
        for place in (model, tmp_path / "run"):
            assert run("labels", place) == 0
            told = capsys.readouterr().out
            assert "3 structures" in told
            assert [name for name in ("aorta", "liver", "spleen") if name not in told] == []
        assert run("labels", "head-neck") == 0
        assert "7 structures" in capsys.readouterr().out

    def test_of_nothing(self, tmp_path, capsys):
        assert run("labels", tmp_path) == 2
        assert capsys.readouterr().err.startswith(f"error: {tmp_path}: expected a dataset, got none; looked for")


class TestModels:
    def test_the_card_of_a_packaged_one(self, capsys):
        assert run("models", "head-neck") == 0
        assert capsys.readouterr().out.startswith("# head-neck")

    def test_of_a_run(self, model, tmp_path, capsys):
        shutil.copytree(model, tmp_path / "run" / "best")
        assert run("models", tmp_path / "run") == 0
        told = capsys.readouterr().out
        assert {row[0] for row in rows_in(told)} == {"structure", "aorta", "liver", "spleen"}
        assert "mean validation Dice: not known" in told
        assert "tuned: no; predict uses a threshold of 0.5 for every structure" in told
        assert "exports: none; `tomoseg export` makes them" in told

    def test_of_a_tuned_one_it_says_on_what_and_how(self, model, tmp_path, capsys):
        place = shutil.copytree(model, tmp_path / "model")
        chosen_on = {"dataset": "pre", "split": "validation", "cases": 33, "dice_before": 0.7, "dice_after": 0.725}
        steps = {"spleen": ["largest", "closing:2"]}
        save_tuned(Tuned(weights_digest(place), 0.5, {"liver": 0.4}, steps, chosen_on), place)
        for command in ("models", "labels"):
            assert run(command, place) == 0
            lines = capsys.readouterr().out.splitlines()
            first = next(number for number, line in enumerate(lines) if line.startswith("tuned: "))
            assert lines[first : first + 4] == [
                "tuned: on 33 cases, split validation of pre (mean Dice on those cases 0.7000 before, 0.7250 after); "
                "predict uses it unless --no-tuned is given",
                "  smoothing over slices: 0.5",
                "  liver: threshold 0.4, steps none",
                "  spleen: threshold 0.5, steps largest, closing:2",
            ]
        (place / "CARD.md").write_text("# Ours")
        assert run("models", place) == 0
        told = capsys.readouterr().out
        assert told.startswith("# Ours\nexports: none")
        assert "tuned: on 33 cases" in told

    def test_tuning_for_other_weights_or_without_effect_is_told(self, model, tmp_path, capsys):
        place = shutil.copytree(model, tmp_path / "model")
        save_tuned(Tuned("0" * 64, 0.5, chosen_on={"dataset": "pre", "split": "test", "cases": 1}), place)
        assert run("labels", place) == 0
        assert capsys.readouterr().out.splitlines()[-1] == (
            "tuned: no; its tuning on 1 case, split test of pre belongs to other weights and is not used; tune the "
            "model again"
        )
        save_tuned(Tuned(weights_digest(place)), place)
        assert run("labels", place) == 0
        assert capsys.readouterr().out.splitlines()[-3:] == [
            "tuned: yes; predict uses it unless --no-tuned is given",
            "  smoothing over slices: 0",
            "  nothing helped: every structure is decided as without tuning",
        ]

    def test_what_is_none(self, dataset, tmp_path, capsys):
        assert run("models", "head_neck") == 2
        assert "did you mean 'head-neck'?" in capsys.readouterr().err
        assert preprocess(dataset, tmp_path / "out") == 0
        capsys.readouterr()
        assert run("models", tmp_path / "out") == 2
        assert "expected a model or a run, got a preprocessed dataset; `tomoseg labels`" in capsys.readouterr().err


class TestPreprocess:
    def test_all_done(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out", "--validation-share", 0.5) == 0
        shown = capsys.readouterr()
        assert "2 cases (case folders)" in shown.out
        assert "1 train, 1 validation, 0 test" in shown.out
        assert (tmp_path / "out" / INDEX).exists()

    def test_some_failed(self, dataset, tmp_path, capsys):
        (dataset / "s1" / "ct.nii.gz").write_bytes(b"broken")
        assert preprocess(dataset, tmp_path / "out") == 1
        assert "failed: s1: " in capsys.readouterr().err
        assert list(DatasetIndex.load(tmp_path / "out").splits) == ["s0"]

    def test_nothing_to_do(self, tmp_path, capsys):
        (tmp_path / "data").mkdir()
        assert preprocess(tmp_path / "data", tmp_path / "out") == 2
        assert "expected a dataset, got none" in capsys.readouterr().err

    def test_a_coarse_grid_is_warned_of(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out", "--grid.spacing-mm", 9) == 0
        assert "warning: the grid is too coarse for" in capsys.readouterr().err

    def test_flags_override_the_file_which_overrides_the_preset(self, dataset, tmp_path):
        file = tmp_path / "settings.yaml"
        file.write_text("grid:\n  size: [4, 3]\n  body_margin_mm: 5\n")
        out = tmp_path / "out"
        assert preprocess(dataset, out, "--preset", "guide", "--config", file, "--grid.body-margin-mm", 7) == 0
        grid = grid_of(out)
        assert (grid.mode, grid.crop) == ("size", "none")  # the preset's
        assert grid.size == (4, 3)  # the file's, not the preset's 256
        assert grid.body_margin_mm == 7  # the flag's, not the file's 5

    @pytest.mark.parametrize(
        "form", [("--preset=guide", "--grid.size", 4, 4), ("--grid.size", 4, 4, "--preset", "guide")]
    )
    def test_the_preset_in_any_place(self, dataset, tmp_path, form):
        assert preprocess(dataset, tmp_path / "out", *form) == 0
        assert (grid_of(tmp_path / "out").mode, grid_of(tmp_path / "out").crop) == ("size", "none")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("grid:\n  moed: size\n", "grid.moed: expected one of 7 known names, got 'moed'; did you mean 'mode'?"),
            ("structure: [liver]\n", "got 'structure'; did you mean 'structures'?"),
            (
                "grid:\n  spacing_mm: -1\n",
                "grid.spacing_mm: expected a value greater than 0, got -1; correct the value",
            ),
            ("- 1\n", "expected `key: value` lines, got a list"),
            (": [", "expected a YAML file of settings"),
        ],
    )
    def test_a_wrong_file(self, dataset, tmp_path, capsys, text, message):
        (tmp_path / "settings.yaml").write_text(text)
        assert preprocess(dataset, tmp_path / "out", "--config", tmp_path / "settings.yaml") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_an_unknown_structure(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out", "--structures", "livr") == 2
        assert "got 'livr'; did you mean 'liver'?" in capsys.readouterr().err


class TestPreview:
    def test_a_picture_of_training_slices(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out") == 0
        capsys.readouterr()
        pictures = []
        for flags in ((), ("--preset", "guide"), ("--augmentation.noise-hu", 200)):
            assert run("preview", tmp_path / "out", "-o", tmp_path / "a.png", *flags) == 0
            assert capsys.readouterr().out == f"16 training slices in {tmp_path / 'a.png'}\n"
            pictures.append((tmp_path / "a.png").read_bytes())
        assert len(set(pictures)) == 3

    @pytest.mark.parametrize("command", ["preview", "train"])
    def test_settings_of_former_versions(self, tmp_path, capsys, command):
        (tmp_path / "settings.yaml").write_text("augmentation:\n  brightness: 0.05\n")
        assert run(command, tmp_path, "-o", tmp_path / "out", "--config", tmp_path / "settings.yaml") == 2
        assert "augmentation.brightness: expected one of 22 known names, got" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


class TestPredict:
    def test_masks(self, ct, model, tmp_path, capsys):
        assert run("predict", "-i", ct, "-o", tmp_path / "out", "-m", model, *CPU) == 0
        names = ["aorta.nii.gz", "liver.nii.gz", "prediction.json", "spleen.nii.gz"]
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
        first, second = capsys.readouterr().out.splitlines()
        assert re.fullmatch(rf"s0: {re.escape(str(tmp_path / 'out'))} \(\d+\.\d s\)", first)
        assert re.fullmatch(r"openvino fp32 on cpu, peak memory \d\.\d\d GB", second)
        assert run("predict", "-i", ct, "-o", tmp_path / "out", "-m", model, *CPU) == 0
        assert capsys.readouterr().out == f"s0: {tmp_path / 'out'} (done before)\n"

    def test_everything_asked_for(self, ct, model, tmp_path):
        flags = ("--ml", "--roi-subset", "liver", "aorta", "--preview", "--statistics", "--batch-size", 2)
        assert run("predict", "-i", ct, "-o", tmp_path / "out" / "map.nii.gz", "-m", model, *CPU, *flags) == 0
        kinds = ["ctbl", "label", "labels.json", "nii.gz", "prediction.json", "statistics.json"]
        names = [*(f"map.{kind}" for kind in kinds), "map_preview.png"]
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
        assert json.loads((tmp_path / "out" / "map.labels.json").read_text()) == {"5": "liver", "52": "aorta"}
        assert set(np.unique(read_label_map(tmp_path / "out" / "map.nii.gz", GRID))) <= {0, 5, 52}

    def test_a_broken_scan_among_good_ones(self, model, tmp_path, capsys):
        for name in ("a", "c"):
            write_nifti(tmp_path / "scans" / f"{name}.nii.gz", scan(), GRID)
        (tmp_path / "scans" / "b.nii.gz").write_bytes(b"broken")
        assert run("predict", "-i", tmp_path / "scans", "-o", tmp_path / "out", "-m", model, "--ml", *CPU) == 1
        shown = capsys.readouterr()
        assert sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]
        assert [line.split(":")[0] for line in shown.out.splitlines()[:-1]] == ["a", "c"]
        assert shown.err.startswith("3 scans: 3 NIfTI\nfailed: b: ")
        assert shown.err.splitlines()[2:] == ["failed: 1 of 3 scans: b"]

    def test_a_scan_of_nan_has_one_line(self, model, tmp_path, capsys):
        write_nifti(tmp_path / "nan.nii.gz", np.full(SHAPE, np.nan, np.float32), GRID)
        assert run("predict", "-i", tmp_path / "nan.nii.gz", "-o", tmp_path / "out", "-m", model, *CPU) == 1
        told = capsys.readouterr().err
        assert told.startswith("failed: nan: ")
        assert "expected finite HU, got NaN or infinity" in told
        assert told.count("\n") == 1

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (("-m", "none"), "expected a model folder with model.json"),
            (("--roi-subset", "livr"), "got 'livr'; did you mean 'liver'?"),
            (("--device", "abacus"), "expected a device of this machine, got 'abacus'"),
            (("--batch-size", 0), "batch_size: expected a value greater than or equal to 1, got 0"),
            (("-i", "none.nii"), "none.nii: expected a scan or a folder of scans, found nothing there"),
        ],
    )
    def test_what_cannot_start(self, ct, model, tmp_path, capsys, flags, message):
        given = {"-i": ct, "-o": tmp_path / "out", "-m": model} | {flags[0]: flags[1]}
        assert run("predict", *(part for pair in given.items() for part in pair)) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.startswith("error: ")
        assert not (tmp_path / "out").exists()


class TestPhantom:
    def test_none(self, tmp_path, capsys):
        counts = ("--train", 0, "--validation", 0, "--test", -1)
        assert run("phantom", "-o", tmp_path / "out", *counts) == 2
        assert "cases in 'test', got -1" in capsys.readouterr().err


def test_what_can_be_exported_to_is_what_engines_have_files_of():
    kinds = get_type_hints(export)
    files = {name: engine for name, engine in ENGINES.items() if engine.conversion is not None}
    assert set(get_args(get_args(kinds["to"])[0])) == set(files)
    assert set(get_args(kinds["precision"])) == {one for engine in files.values() for one in engine.precisions}


def test_engines_and_precisions_to_choose_from():
    assert set(get_args(EngineName)) == {"auto", *ENGINES}
    assert set(get_args(Precision)) == {"auto", *(one for engine in ENGINES.values() for one in engine.precisions)}


@pytest.mark.parametrize("flags", [("--to", "openvino"), ("--measure", "p")])
def test_a_calibration_that_nothing_would_use_is_refused(flags, capsys):
    assert main(["export", "run", "--calibrate", "p", *flags]) != 0
    assert "expected --to and --precision int8 with --calibrate, got" in " ".join(capsys.readouterr().err.split())

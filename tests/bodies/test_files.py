"""Anatomies from files and from the phantom, datasets of bodies, the command."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.bodies.maps import AFFINE, PLAIN, block_map
from tomoseg.bodies import make_body, procedural_anatomy, read_anatomies, read_anatomy
from tomoseg.bodies.write import RECORD, check_sources, find_sources, make_body_dataset
from tomoseg.cli import main
from tomoseg.datasets.layouts import find_dataset
from tomoseg.errors import DatasetError, InputError, LabelError
from tomoseg.files.nifti import read_ct, read_mask, write_nifti
from tomoseg.labels import LabelSet
from tomoseg.settings import save_config
from tomoseg.volume import SourceGrid
from tomoseg.workflows.phantom import make_bodies

TOTAL = LabelSet.total()
GRID = SourceGrid((60, 50, 30), AFFINE)
COARSE = (10.0, 10.0, 10.0)


@pytest.fixture
def label_map(tmp_path):
    path = tmp_path / "blocks_total.nii.gz"
    write_nifti(path, block_map(), GRID)
    return path


def test_the_117_are_known_where_the_name_says_so(label_map):
    anatomy = read_anatomy(label_map)
    assert anatomy.labels == TOTAL
    assert [TOTAL.names[n - 1] for n in anatomy.boxes] == ["spleen", "kidney_left", "liver", "vertebrae_L1"]
    assert anatomy.overlapping == 0


def test_names_beside_the_map_and_one_that_says_nothing(tmp_path):
    path = tmp_path / "map.nii.gz"
    write_nifti(path, np.where(block_map() == 5, 2, (block_map() == 1) * 7).astype(np.uint8), GRID)
    (tmp_path / "labels.json").write_text('{"2": "Liver", "7": "blob"}')
    anatomy = read_anatomy(path)
    assert sorted(zip(anatomy.labels.names, anatomy.labels.ids, strict=True)) == [("Liver", 2), ("blob", 7)]
    assert anatomy.generic == ("blob",)
    body = make_body(anatomy, 0, PLAIN, COARSE)
    assert set(np.unique(body.ids)) == {0, 2, 7}


def test_overlapping_masks_go_to_the_smallest_and_are_told(tmp_path):
    liver, tumour = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    liver[2:18, 2:18, 2:18], tumour[5:9, 5:9, 5:9] = True, True
    for name, mask in (("liver", liver), ("liver_tumour", tumour)):
        write_nifti(tmp_path / "case" / "segmentations" / f"{name}.nii.gz", mask, SourceGrid((20, 20, 20), AFFINE))
    (anatomy,) = read_anatomies(tmp_path)
    assert anatomy.overlapping == 4**3
    number = anatomy.labels.channel("liver_tumour") + 1
    assert (anatomy.numbers == number).sum() == 4**3
    assert check_sources(find_sources([tmp_path]))[0].overlapping == 4**3


def test_maps_that_cannot_be_used(tmp_path, label_map):
    with pytest.raises(DatasetError, match="expected masks, got nothing of that name"):
        find_sources([tmp_path / "none.nii.gz"])
    other = tmp_path / "other_total.nii.gz"
    write_nifti(other, np.full((60, 50, 30), 200, np.uint8), GRID)
    with pytest.raises(LabelError, match="expected a name for every value, got none for 200"):
        read_anatomy(other)
    flat = tmp_path / "flat_total.nii.gz"
    write_nifti(flat, block_map()[:, :, 10:11], SourceGrid((60, 50, 1), AFFINE))
    with pytest.raises(InputError, match="expected a label map of at least two slices,"):
        read_anatomy(flat)
    empty = tmp_path / "empty_total.nii.gz"
    write_nifti(empty, np.zeros((60, 50, 30), np.uint8), GRID)
    with pytest.raises(InputError, match="expected a label map with at least one structure, got an empty"):
        read_anatomy(empty)


def test_a_dataset_of_bodies_is_read_as_one(tmp_path, label_map):
    out = tmp_path / "bodies"
    sources = find_sources([label_map])
    cases = make_body_dataset(out, sources, {"train": 1, "test": 1}, 0, PLAIN, COARSE, workers=1)
    assert [str(c.relative_to(out)) for c in cases] == ["train/train_000", "test/test_000"]
    found = find_dataset(out)
    assert found.labels == TOTAL
    assert {case.split for case in found.cases} == {"train", "test"}
    record = json.loads((cases[0] / RECORD).read_text())
    assert (record["anatomy"], record["seed"]) == ("blocks_total", 0)
    again = make_body(read_anatomy(label_map), 0, PLAIN, COARSE)
    assert np.array_equal(read_ct(cases[0] / "ct.nii.gz").hu, again.volume.hu)
    liver = read_mask(cases[0] / "segmentations" / "liver.nii.gz")
    assert np.array_equal(liver, again.ids == TOTAL["liver"].id)


def test_the_phantoms_anatomy_has_its_flesh():
    anatomy = procedural_anatomy(1, (9.0, 9.0, 9.0))
    assert not anatomy.wall
    assert {"liver", "skull", "femur_left"} <= {TOTAL.names[n - 1] for n in anatomy.boxes}
    body = make_body(anatomy, 2, PLAIN, (9.0, 9.0, 9.0))
    inside = body.volume.hu[body.numbers == 0]
    assert ((inside > -130) & (inside < -70)).sum() > 1000  # fat
    with pytest.raises(InputError, match="expected a seed of 0 or more, got -1"):
        procedural_anatomy(-1)


@pytest.mark.parametrize(
    ("seed", "edge", "message"),
    [(-1, 3.0, "expected a seed of 0 or more, got -1"), (0, 0.1, r"expected voxels of 0.3 mm or more, got \(0.1, ")],
)
def test_a_request_that_cannot_be_met_is_refused_before_maps_are_read(tmp_path, seed, edge, message):
    with pytest.raises(InputError, match=message):
        make_bodies(tmp_path / "out", ["no such map"], {"train": 1}, seed, edge)
    assert not (tmp_path / "out").exists()


def test_the_command_makes_bodies_and_refuses_ranges_without_anatomy(tmp_path, label_map, capsys):
    ranges = tmp_path / "ranges.yaml"
    save_config(PLAIN, ranges)
    counts = ["--train", "1", "--validation", "0", "--test", "0", "--spacing-mm", "12"]
    out = tmp_path / "out"
    assert main(["phantom", "-o", str(out), "--anatomy", str(label_map), "--config", str(ranges), *counts]) == 0
    assert (out / "train" / "train_000" / "ct.nii.gz").is_file()
    assert main(["phantom", "-o", str(out), "--config", str(ranges), *counts]) == 2
    assert "expected --anatomy with --config, got none" in " ".join(capsys.readouterr().err.split())
    ranges.write_text("scanner: {noise: 3}")
    assert main(["phantom", "-o", str(out), "--anatomy", str(label_map), "--config", str(ranges), *counts]) == 2
    assert "noise" in capsys.readouterr().err


def _map(folder: Path, values: np.ndarray, name: str = "map_total.nii.gz") -> Path:
    path = folder / name
    write_nifti(path, values, SourceGrid(values.shape, AFFINE))
    return path


def _far_apart() -> np.ndarray:
    values = np.zeros((60, 50, 60), np.uint8)
    values[5, 5, 5], values[55, 45, 55] = TOTAL["liver"].id, TOTAL["spleen"].id
    return values


@pytest.mark.parametrize(
    ("values", "ranges", "message"),
    [
        (np.full((20, 20, 20), 200, np.uint8), "", "expected a name for every value, got none for 200"),
        (block_map()[:, :, 10:11], "", "expected a label map of at least two slices, got (60, 50, 1); pass the whole"),
        (np.zeros((20, 20, 20), np.uint8), "", "expected a label map with at least one structure, got an empty"),
        (
            _far_apart(),
            "view: {whole_share: 0, height_mm: [20, 20], narrow_share: 1, narrow_mm: [20, 20], spine_share: 0}",
            "expected a structure in at least one of 8 fields of view, got none; raise view.height_mm or",
        ),
        (block_map(), "view: {height_mm: [300, 40]}", "expected the lower bound first, got [300.0, 40.0]"),
        (block_map(), "view: {height_mm: [-5, 40]}", "expected numbers above 0, got [-5.0, 40.0]"),
        (block_map(), "devices: {pacemaker_share: 1.5}", "less than or equal to 1"),
        (block_map(), "disease: {cysts: [3, 1]}", "expected two numbers of 0 or more, the lower one first,"),
        (block_map(), "view: {heigth_mm: [40, 60]}", "height_mm"),
    ],
    ids=["unknown id", "one slice", "no body", "empty views", "order", "negative", "share", "counts", "key"],
)  # fmt: skip
def test_the_command_refuses(tmp_path, capsys, values, ranges, message):
    source, out, config = _map(tmp_path, values), tmp_path / "out", tmp_path / "ranges.yaml"
    config.write_text(ranges or "{}")
    counts = ["--train", "1", "--validation", "0", "--test", "0", "--spacing-mm", "12", "--seed", "0"]
    assert main(["phantom", "-o", str(out), "--anatomy", str(source), "--config", str(config), *counts]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("out/*/*"))  # no case, whole or half


def test_the_command_refuses_masks_on_several_grids(tmp_path, capsys):
    for name, shape in (("liver", (20, 20, 20)), ("spleen", (20, 20, 21))):
        mask = np.ones(shape, bool)
        write_nifti(tmp_path / "case" / "segmentations" / f"{name}.nii.gz", mask, SourceGrid(shape, AFFINE))
    assert main(["phantom", "-o", str(tmp_path / "out"), "--anatomy", str(tmp_path / "case"), "--train", "1"]) == 2
    assert "got 20 x 20 x 21 voxels, not 20 x 20 x 20" in " ".join(capsys.readouterr().err.split())


def test_the_command_tells_names_that_say_nothing_and_overlaps(tmp_path, capsys):
    for name, low in (("liver", 2), ("blob", 5)):
        mask = np.zeros((20, 20, 20), bool)
        mask[low : low + 8, 4:12, 4:12] = True
        write_nifti(tmp_path / "case" / "segmentations" / f"{name}.nii.gz", mask, SourceGrid((20, 20, 20), AFFINE))
    ranges = tmp_path / "ranges.yaml"
    save_config(PLAIN, ranges)
    counts = ["--train", "1", "--validation", "0", "--test", "0", "--spacing-mm", "12", "--config", str(ranges)]
    assert main(["phantom", "-o", str(tmp_path / "out"), "--anatomy", str(tmp_path / "case"), *counts]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "no HU are known for blob, which are drawn as generic soft tissue" in said
    assert f"{5 * 8 * 8} voxels belong to several structures" in said

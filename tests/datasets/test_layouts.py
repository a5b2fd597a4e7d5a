import gzip
import json

import numpy as np
import pytest

from tests.files.handmade import nifti1
from tomoseg.datasets.cases import mask_loader
from tomoseg.datasets.layouts import find_dataset
from tomoseg.datasets.splits import assign_splits
from tomoseg.errors import DatasetError, LabelError
from tomoseg.files.itk.seg_nrrd import write_seg_nrrd
from tomoseg.files.label_names import label_set_of
from tomoseg.files.nifti import read_ct
from tomoseg.labels import LabelSet
from tomoseg.segmentation import LabelMap


def image(path, values=(0, 1)):
    """A file of as many voxels as values, in a row along x."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = nifti1(np.array(values, np.int16).reshape(-1, 1, 1))
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def mask_case(folder, *structures):
    image(folder / "ct.nii.gz")
    for structure in structures:
        image(folder / "segmentations" / f"{structure}.nii.gz")


def as_lists(case, labels):
    grid = read_ct(case.ct).source
    load = mask_loader(case, labels, grid)
    return {
        name: load(labels.channel(name)).astype(int).ravel().tolist() for name in labels.names if name in case.annotated
    }


class TestCaseFolders:
    def test_masks_directly(self, tmp_path):
        mask_case(tmp_path / "s1", "spleen", "liver")
        mask_case(tmp_path / "s0", "aorta")
        (tmp_path / "s0" / "ct.nii.gz").rename(tmp_path / "s0" / "ct.nii")
        dataset = find_dataset(tmp_path)
        assert dataset.layout == "case folders"
        assert [(c.name, c.annotated, c.split, c.patient) for c in dataset.cases] == [
            ("s0", ("aorta",), None, "s0"),
            ("s1", ("liver", "spleen"), None, "s1"),
        ]
        assert dataset.cases[0].ct.name == "ct.nii"
        assert dataset.labels == LabelSet.total().subset(["spleen", "liver", "aorta"])
        assert dataset.warnings == ()

    def test_a_structure_without_a_file_is_unknown_and_an_empty_one_absent(self, tmp_path):
        mask_case(tmp_path / "s0", "spleen")
        mask_case(tmp_path / "s1")
        image(tmp_path / "s1" / "segmentations" / "liver.nii.gz", (0, 0))
        dataset = find_dataset(tmp_path)
        assert [as_lists(case, dataset.labels) for case in dataset.cases] == [{"spleen": [0, 1]}, {"liver": [0, 0]}]

    def test_split_folders(self, tmp_path):
        for place in ("train/a", "val/b", "validation/c", "Test/d"):
            mask_case(tmp_path / place, "tumour")
        dataset = find_dataset(tmp_path)
        assert {c.name: c.split for c in dataset.cases} == {
            "a": "train",
            "b": "validation",
            "c": "validation",
            "d": "test",
        }
        assert dataset.labels.names == ("tumour",)

    def test_a_single_case(self, tmp_path):
        mask_case(tmp_path / "s7", "spleen")
        assert [case.name for case in find_dataset(tmp_path / "s7").cases] == ["s7"]

    def test_hidden_files_are_passed_over(self, tmp_path):
        mask_case(tmp_path / "s0", "spleen")
        image(tmp_path / "s0" / "segmentations" / "._spleen.nii.gz")
        image(tmp_path / "s0" / "._ct.nii.gz")
        image(tmp_path / "._s0.nii.gz")
        mask_case(tmp_path / ".cache", "liver")
        mask_case(tmp_path / "__MACOSX", "liver")
        dataset = find_dataset(tmp_path)
        assert [(c.name, c.annotated) for c in dataset.cases] == [("s0", ("spleen",))]

    def test_what_is_left_out_is_told(self, tmp_path):
        mask_case(tmp_path / "s0", "spleen")
        mask_case(tmp_path / "s1")
        image(tmp_path / "s2" / "segmentations" / "spleen.nii.gz")
        (tmp_path / "docs").mkdir()
        image(tmp_path / "s0" / "labels.nii.gz")
        dataset = find_dataset(tmp_path)
        assert [c.name for c in dataset.cases] == ["s0"]
        told = " ".join(dataset.warnings)
        assert "s1: a scan without masks was left out" in told
        assert "s2: a folder without a scan was left out" in told
        assert "s0: the label map is not used" in told
        assert len(dataset.warnings) == 3

    def test_one_case_in_two_splits_is_refused(self, tmp_path):
        mask_case(tmp_path / "train" / "a", "spleen")
        mask_case(tmp_path / "test" / "a", "spleen")
        with pytest.raises(DatasetError, match="expected each case in one split, got a in"):
            find_dataset(tmp_path)

    def test_one_mask_in_two_files_is_refused(self, tmp_path):
        mask_case(tmp_path / "a", "spleen")
        image(tmp_path / "a" / "segmentations" / "spleen.nii")
        with pytest.raises(DatasetError, match=r"expected each file once, got \.nii and \.nii\.gz of spleen"):
            find_dataset(tmp_path)

    def test_no_dataset(self, tmp_path):
        with pytest.raises(DatasetError, match=r"expected a dataset, got none; looked for <case>/ct\.nii\.gz"):
            find_dataset(tmp_path)
        with pytest.raises(DatasetError, match="got no such folder"):
            find_dataset(tmp_path / "none")
        mask_case(tmp_path / "a")
        with pytest.raises(
            DatasetError, match=r"expected cases with masks, got none; the first of 1 left out: .*a: a scan"
        ):
            find_dataset(tmp_path)


class TestMeta:
    @pytest.fixture
    def meta(self, tmp_path):
        for name in ("a", "b", "c"):
            mask_case(tmp_path / name, "spleen")

        def write(text, encoding="utf-8"):
            (tmp_path / "meta.csv").write_text(text, encoding=encoding)
            return find_dataset(tmp_path)

        return write

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
    @pytest.mark.parametrize("delimiter", [";", ","])
    def test_splits_and_patients(self, meta, encoding, delimiter):
        text = "image_id;age;split;patient_id\na;50;train;p1\nb;;val;p2\nc;61;test;p3\n".replace(";", delimiter)
        dataset = meta(text, encoding)
        assert [(c.split, c.patient) for c in dataset.cases] == [("train", "p1"), ("validation", "p2"), ("test", "p3")]
        assert dataset.warnings == ()

    def test_rows_without_a_folder_are_told(self, meta):
        dataset = meta("image_id;split\na;train\nb;val\nc;test\nx;train\ny;train\n")
        assert "2 listed cases do not exist: x, y." in dataset.warnings[0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("image_id;split\na;trian\n", "expected train, val or test as the split, got 'trian' for a"),
            ("image_id;split\na;train\na;val\n", "expected each case once, got a twice"),
            ("image_id;split\nx;train\n", "expected names of case folders in the column image_id, got none; correct"),
            ("case;split\na;train\n", "expected a column image_id, got case, split"),
        ],
    )
    def test_a_wrong_table_is_refused(self, meta, text, message):
        with pytest.raises(DatasetError, match=f"meta.csv: {message}"):
            meta(text)

    def test_other_encodings_are_refused(self, meta):
        with pytest.raises(DatasetError, match="expected a table in UTF-8"):
            meta("image_id;split\na;train\nµ;val\n", "utf-16")

    def test_a_split_other_than_its_folder_is_refused(self, tmp_path):
        mask_case(tmp_path / "train" / "a", "spleen")
        (tmp_path / "meta.csv").write_text("image_id;split\na;test\n")
        with pytest.raises(DatasetError, match=r"expected the same split as the folder's, got test for a in .*train"):
            find_dataset(tmp_path)


class TestLabelMaps:
    @pytest.mark.parametrize("scan", ["ct.nii.gz", "s0.nii"])
    @pytest.mark.parametrize("label_map", ["labels.nii.gz", "s0_labels_v1.nii", "seg.nii.gz", "segmentation.nii.gz"])
    def test_one_label_map_with_names_for_all_cases(self, tmp_path, scan, label_map):
        image(tmp_path / "s0" / scan, (-1000, 0, 50))
        image(tmp_path / "s0" / label_map, (0, 2, 1))
        (tmp_path / "labels.json").write_text('{"1": "tumour", "2": "liver"}')
        dataset = find_dataset(tmp_path)
        assert dataset.labels.names == ("liver", "tumour")
        assert (dataset.cases[0].ct.name, dataset.cases[0].label_map.name) == (scan, label_map)
        assert as_lists(dataset.cases[0], dataset.labels) == {"tumour": [0, 0, 1], "liver": [0, 1, 0]}

    def test_a_case_says_what_is_annotated(self, tmp_path):
        for name in ("s0", "s1"):
            image(tmp_path / name / "ct.nii.gz")
            image(tmp_path / name / "labels.nii.gz", (2, 1))
        (tmp_path / "labels.json").write_text('{"liver": 1, "spleen": 2}')
        (tmp_path / "s1" / "labels.json").write_text('["spleen"]')
        dataset = find_dataset(tmp_path)
        assert [as_lists(c, dataset.labels) for c in dataset.cases] == [
            {"spleen": [1, 0], "liver": [0, 1]},
            {"spleen": [1, 0]},
        ]
        (tmp_path / "s1" / "labels.json").write_text('["spleeen"]')
        with pytest.raises(DatasetError, match="got 'spleeen'; did you mean 'spleen'"):
            find_dataset(tmp_path)
        (tmp_path / "s1" / "labels.json").write_text('["spleen", "spleen"]')
        with pytest.raises(DatasetError, match="expected each name once, got 'spleen' twice"):
            find_dataset(tmp_path)

    def test_a_case_has_values_of_its_own(self, tmp_path):
        for name in ("s0", "s1"):
            image(tmp_path / name / "ct.nii.gz")
            image(tmp_path / name / "seg.nii.gz", (0, 7))
        (tmp_path / "s0" / "labels.json").write_text('{"7": "liver"}')
        (tmp_path / "s1" / "seg.labels.json").write_text('{"7": "spleen"}')
        dataset = find_dataset(tmp_path)
        assert [as_lists(c, dataset.labels) for c in dataset.cases] == [{"liver": [0, 1]}, {"spleen": [0, 1]}]

    def test_the_117_by_file_name(self, tmp_path):
        image(tmp_path / "s0" / "ct.nii.gz")
        image(tmp_path / "s0" / "labels_total_v2.nii.gz", (5, 0))
        dataset = find_dataset(tmp_path)
        assert dataset.labels == LabelSet.total()
        masks = as_lists(dataset.cases[0], dataset.labels)
        assert (len(masks), masks["liver"], masks["spleen"]) == (117, [1, 0], [0, 0])

    def test_no_names_are_refused(self, tmp_path):
        image(tmp_path / "s0" / "ct.nii.gz")
        image(tmp_path / "s0" / "labels.nii.gz")
        with pytest.raises(DatasetError, match=r"labels\.nii\.gz: expected names for its values, got no labels\.json"):
            find_dataset(tmp_path)

    def test_a_value_without_a_name_is_refused(self, tmp_path):
        image(tmp_path / "s0" / "ct.nii.gz")
        image(tmp_path / "s0" / "labels.nii.gz", (1, 9))
        (tmp_path / "labels.json").write_text('{"1": "liver"}')
        dataset = find_dataset(tmp_path)
        with pytest.raises(
            LabelError, match=r"expected a name for every value, got none for 9; name them in labels\.json"
        ):
            as_lists(dataset.cases[0], dataset.labels)

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["ct", "labels", "labels_2"], r"expected one label map, got labels\.nii\.gz, labels_2\.nii\.gz"),
            (["a", "b", "labels"], r"expected one scan \(or one named ct\.nii\.gz\), got a\.nii\.gz, b\.nii\.gz"),
        ],
    )
    def test_files_that_cannot_be_told_apart_are_refused(self, tmp_path, names, message):
        for name in names:
            image(tmp_path / "s0" / f"{name}.nii.gz")
        with pytest.raises(DatasetError, match=message):
            find_dataset(tmp_path)


class TestFlat:
    def test_scans_and_label_maps_side_by_side(self, tmp_path):
        for name in ("p1", "p1_b", "p2"):
            image(tmp_path / f"{name}.nii.gz")
            image(tmp_path / f"{name}_labels.nii.gz")
        (tmp_path / "labels.json").write_text('{"liver": 1}')
        dataset = find_dataset(tmp_path)
        assert dataset.layout == "flat"
        assert [(c.name, c.label_map.name, c.patient) for c in dataset.cases] == [
            ("p1", "p1_labels.nii.gz", "p1"),
            ("p1_b", "p1_b_labels.nii.gz", "p1_b"),
            ("p2", "p2_labels.nii.gz", "p2"),
        ]

    def test_two_label_maps_or_none(self, tmp_path):
        image(tmp_path / "p1.nii.gz")
        image(tmp_path / "p2.nii.gz")
        image(tmp_path / "p2_labels_total.nii.gz")
        dataset = find_dataset(tmp_path)
        assert [c.name for c in dataset.cases] == ["p2"]
        assert "p1.nii.gz: a scan without a label map was left out" in dataset.warnings[0]
        image(tmp_path / "p2_seg.nii.gz")
        with pytest.raises(DatasetError, match="expected one label map for p2"):
            find_dataset(tmp_path)

    def test_a_label_map_of_a_label_map_is_one_too_many(self, tmp_path):
        for name in ("anna", "anna_seg", "anna_seg_labels"):
            image(tmp_path / f"{name}.nii.gz")
        with pytest.raises(
            DatasetError, match=r"expected one label map for anna, got anna_seg\.nii\.gz, anna_seg_labels"
        ):
            find_dataset(tmp_path)

    def test_the_torso_is_one_patient_seen_twice(self, test_data):
        dataset = find_dataset(test_data / "torso")
        assert [(c.name, c.label_map.name, c.patient) for c in dataset.cases] == [
            ("ct", "labels_total_v2.nii.gz", "torso"),
            ("ct_slab", "ct_slab_labels_total_v2.nii.gz", "torso"),
        ]
        assert dataset.labels == LabelSet.total()
        assert set(assign_splits(dataset.cases, 0.5, 0, 0).values()) == {"train"}
        slab = dataset.cases[1]
        load = mask_loader(slab, dataset.labels, read_ct(slab.ct).source)
        assert 0 < sum(bool(load(channel).any()) for channel in range(117)) < 61


class TestDatasetJson:
    @pytest.fixture
    def write(self, tmp_path):
        def write(images, labels, data):
            for name in images:
                image(tmp_path / "imagesTr" / name, (0, 10, 20, 30))
            for name in labels:
                image(tmp_path / "labelsTr" / name, (0, 1, 2, 2))
            (tmp_path / "dataset.json").write_text(json.dumps(data))
            return tmp_path

        return write

    @pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
    def test_numbered(self, write, ending):
        folder = write(
            [f"a_0000{ending}", f"b_1_0000{ending}", f"c_0000{ending}", f"._a_0000{ending}"],
            [f"a{ending}", f"b_1{ending}", f"._a{ending}"],
            {"labels": {"background": 0, "liver": 1, "tumour": 2}, "channel_names": {"0": "CT"}, "file_ending": ending},
        )
        dataset = find_dataset(folder)
        assert dataset.layout == "numbered"
        assert [(c.name, c.ct.name) for c in dataset.cases] == [("a", f"a_0000{ending}"), ("b_1", f"b_1_0000{ending}")]
        assert as_lists(dataset.cases[1], dataset.labels) == {"liver": [0, 1, 0, 0], "tumour": [0, 0, 1, 1]}
        assert f"c_0000{ending}: a scan without a label map in labelsTr was left out" in dataset.warnings[0]

    def test_regions_overlap(self, write):
        labels = {"background": 0, "liver": [1, 2], "tumour": 2}
        dataset = find_dataset(write(["a_0000.nii.gz"], ["a.nii.gz"], {"labels": labels}))
        assert as_lists(dataset.cases[0], dataset.labels) == {"liver": [0, 1, 1, 1], "tumour": [0, 0, 1, 1]}

    @pytest.mark.parametrize("on_disk", ["a.nii.gz", "a_0000.nii.gz"])
    def test_listed(self, write, on_disk):
        data = {
            "labels": {"0": "background", "1": "liver", "2": "cancer"},
            "modality": {"0": "CT"},
            "training": [
                {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"},
                {"image": "./imagesTr/b.nii.gz"},
            ],
            "test": ["./imagesTs/c.nii.gz"],
        }
        dataset = find_dataset(write([on_disk], ["a.nii.gz"], data))
        assert dataset.layout == "listed"
        assert [(c.name, c.ct.name) for c in dataset.cases] == [("a", on_disk)]
        assert as_lists(dataset.cases[0], dataset.labels) == {"cancer": [0, 0, 1, 1], "liver": [0, 1, 0, 0]}
        assert "imagesTr/b.nii.gz: a scan without a label in dataset.json was left out" in dataset.warnings[0]

    def test_listed_files_of_one_name_are_called_by_their_folders(self, tmp_path):
        for patient in ("p1", "p2"):
            image(tmp_path / patient / "ct.nii.gz", (0, 10, 20, 30))
            image(tmp_path / patient / "seg.nii.gz", (0, 1, 1, 0))
        entries = [{"image": f"{p}/ct.nii.gz", "label": f"{p}/seg.nii.gz"} for p in ("p1", "p2")]
        content = {"labels": {"1": "liver"}, "training": entries}
        (tmp_path / "dataset.json").write_text(json.dumps(content))
        cases = find_dataset(tmp_path).cases
        assert [(c.name, c.patient, c.ct.parent.name) for c in cases] == [
            ("p1_seg",) * 2 + ("p1",),
            ("p2_seg",) * 2 + ("p2",),
        ]
        entries[1]["label"] = entries[0]["label"]
        (tmp_path / "dataset.json").write_text(json.dumps(content))
        with pytest.raises(
            DatasetError, match="expected a separate label for each image, got several images with p1_seg"
        ):
            find_dataset(tmp_path)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({"labels": {"liver": 1, "ignore": 2}}, "expected every voxel to be labelled, got a label 'ignore'"),
            ({"labels": {"liver": [1, 0]}}, r"expected a region's values from 1 to 65535, got 'liver': \(1, 0\)"),
            ({"labels": {"liver": []}}, "expected a region's values from 1 to 65535"),
            ({"labels": ["liver"]}, "expected 'labels' with the structures' names,"),
            ([], "expected 'labels' with the structures' names,"),
            ({"labels": {"liver": 1}, "channel_names": {"0": "T1", "1": "T2"}}, "expected one channel, CT, got 2"),
            (
                {"labels": {"liver": 1}, "file_ending": ".png"},
                r"expected files ending in \.nii\.gz, \.nii, \.nrrd, .* or \.mhd, got '\.png'",
            ),
            (
                {"labels": {"liver": 1}, "file_ending": ".nrrd"},
                r"labelsTr: expected files ending in \.nrrd, got none; correct file_ending in dataset\.json",
            ),
            ({"labels": {"liver": 1}}, r"expected b_0000\.nii\.gz, got no such file"),
            ({"labels": {"liver": 1}, "training": {"a": 1}}, "expected a list under 'training'"),
            ({"labels": {"liver": 1}, "training": ["a"]}, "expected an image and a label for each case, got a"),
            (
                {"labels": {"liver": 1}, "training": [{"image": "../a.nii", "label": "x.nii"}]},
                r"expected paths inside the dataset's folder, got '(x\.nii|\.\./a\.nii)'",
            ),
            (
                {"labels": {"liver": 1}, "training": [{"image": "a.nii", "label": "/etc/passwd"}]},
                "expected paths inside the dataset's folder, got '/etc/passwd'",
            ),
            (
                {"labels": {"liver": 1}, "training": [{"image": 5, "label": "labelsTr/a.nii.gz"}]},
                "expected paths inside the dataset's folder, got 5",
            ),
        ],
    )
    def test_descriptions_that_cannot_be_used(self, write, data, message):
        folder = write(["a_0000.nii.gz"], ["a.nii.gz", "b.nii.gz"], data)
        with pytest.raises(DatasetError, match=message):
            find_dataset(folder)

    def test_a_missing_folder(self, tmp_path):
        (tmp_path / "dataset.json").write_text('{"labels": {"liver": 1}}')
        with pytest.raises(DatasetError, match=r"expected a folder imagesTr beside dataset\.json, got none"):
            find_dataset(tmp_path)

    def test_a_name_twice(self, write):
        with pytest.raises(LabelError, match="expected each name once, got twice: liver"):
            find_dataset(write(["a_0000.nii.gz"], ["a.nii.gz"], {"labels": {"1": "liver", "2": "liver"}}))


def test_expert_contours_of_the_head_and_neck(test_data):
    dataset = find_dataset(test_data / "openkbp")
    assert len(dataset.cases) == 203
    assert dataset.labels.names == (
        "brainstem", "esophagus", "larynx", "mandible", "parotid_gland_left", "parotid_gland_right", "spinal_cord",
    )  # fmt: skip
    splits = list(assign_splits(dataset.cases, 0.5, 0.2, 0).values())
    assert (splits.count("train"), splits.count("validation"), splits.count("test")) == (170, 33, 0)


@pytest.mark.parametrize(
    ("scan", "labels"),
    [
        ("a/ct.nii.gz", "a/labels.seg.nrrd"),
        ("a/ct.nii.gz", "a/Segmentation.seg.nrrd"),
        ("a.nii.gz", "a_labels.seg.nrrd"),
        ("a.nii.gz", "a.seg.nrrd"),
    ],
)
def test_segmentations_of_3d_slicer(tmp_path, scan, labels):
    image(tmp_path / scan, (0, 1, 7))
    grid = read_ct(tmp_path / scan).source
    values = np.array([[[0]], [[5]], [[2]]], np.uint8)
    write_seg_nrrd(LabelMap(values, label_set_of({5: "liver", 2: "spleen"}), grid), tmp_path / labels)
    dataset = find_dataset(tmp_path)
    assert dict(zip(dataset.labels.names, dataset.labels.ids, strict=True)) == {"spleen": 2, "liver": 5}
    assert as_lists(dataset.cases[0], dataset.labels) == {"spleen": [0, 0, 1], "liver": [0, 1, 0]}
    assert dataset.warnings == ()

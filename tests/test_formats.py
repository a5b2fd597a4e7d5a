"""Names, help, docs and files of output formats follow from their records."""

import inspect
import typing
from importlib import import_module
from pathlib import Path

import pytest

from tomoseg.files.target import Target
from tomoseg.formats import FORMATS, FormatName, endings_of_their_own
from tomoseg.packages import EXTRAS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "written-files.md"


def test_the_names_that_options_take_are_those_of_the_records():
    assert typing.get_args(FormatName) == tuple(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_its_writer_is_there_and_takes_a_result_and_a_target(name):
    module, _, function = FORMATS[name].writer.partition(":")
    parameters = inspect.signature(getattr(import_module(module), function), eval_str=False).parameters
    assert list(parameters)[:2] == ["result", "target"]
    assert all(one.default is not one.empty for one in list(parameters.values())[2:])
    assert parameters["target"].annotation in (Target, "Target")


@pytest.mark.parametrize("name", FORMATS)
def test_its_line_in_the_docs_says_what_its_record_says(name):
    among, beside = FORMATS[name].places()
    assert f"| `{name}` | {FORMATS[name].help} | `{among}` | `{beside}` |\n" in PAGE.read_text(encoding="utf-8")


def test_what_it_needs_can_be_installed_by_an_extra():
    for kind in FORMATS.values():
        assert set(kind.packages) <= set(EXTRAS)


@pytest.mark.parametrize(
    ("name", "masks", "label_map", "named"),
    [
        ("nifti", "out", "s0.nii.gz", "s0.nii"),
        ("nrrd", "out/segmentation.seg.nrrd", "s0.seg.nrrd", "s0.seg.nrrd"),
        ("dicom-seg-labelmap", "out/segmentation.labelmap.seg.dcm", "s0.labelmap.seg.dcm", "s0.labelmap.seg.dcm"),
        ("ply", "out/ply", "s0_ply", "s0_ply"),
    ],
)
def test_where_it_is_written(name, masks, label_map, named):
    kind = FORMATS[name]
    assert kind.path(Path("out"), None) == Path(masks)
    assert kind.path(Path("a/s0.nii.gz"), "s0") == Path("a", label_map)
    assert kind.path(Path("a/s0.nii"), "s0") == Path("a", named)


def test_endings_that_name_no_folder():
    assert {".dcm", ".nrrd", ".stl", ".ply"} <= set(endings_of_their_own())
    assert not {".gz", ".nii"} & set(endings_of_their_own())

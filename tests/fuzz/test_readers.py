"""Hostile bytes in the ordinary tests: damaged files of every kind, and headers of well-formed nonsense.

`make fuzz` looks further, guided by what code it reaches.
"""

import gzip
import io

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import keyword_dict

from tests.files.handmade import nifti1
from tests.fuzz import promises
from tests.fuzz.promises import READERS, BrokenPromiseError, check, sandbox
from tests.fuzz.seeds import NEXT_FILE, VOXELS, seeds
from tomoseg.errors import InputError
from tomoseg.files.scan import read_scan

REFUSED = {
    "nifti": {"pair"},
    "nrrd": {"list", "elsewhere", "absolute", "no space"},
    "mha": {"elsewhere"},
    "dicom": {"repeated"},
    "zip": {"nested", "climbing"},
}
NUMBERS = ["0", "-1", "1e999", "nan", "9" * 20, "1" + "0" * 5000, "0x10", "\u0663", "1.5", "4 3", "2 3 4 5"]
WORDS = [
    "",
    " ",
    "LIST",
    "LOCAL",
    "../outside.raw",
    "/etc/passwd",
    "C:\\a",
    "a.nrrd",
    "%d 1 9 1",
    "\x1b[31mred",
    "\x00",
]
VECTORS = ["(1,0,0) (0,1,0) (0,0,0)", "(1e9,0,0) (0,1,0) (0,0,1)", "none (1,0,0) (0,1,0)", "((((", "(1,0,0)" * 9]
NONSENSE = st.sampled_from(NUMBERS + WORDS + VECTORS) | st.text(max_size=12)


@pytest.mark.parametrize("reader", READERS)
def test_seeds_are_what_they_should_be(reader):
    with sandbox() as folder:
        read = {name: check(reader, data, folder) for name, data in seeds(reader).items()}
    assert {name for name, was_read in read.items() if not was_read} == REFUSED[reader]


@st.composite
def damaged(draw, reader):
    """A seed with bytes changed, cut out, doubled, or another seed's put in."""
    known = list(seeds(reader).values())
    data = bytearray(draw(st.sampled_from(known)))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([1, 2, 4, 8, 40]))
        kind = draw(st.sampled_from(["set", "cut", "double", "graft"]))
        if kind == "set":
            data[start : start + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "cut":
            del data[start : start + length]
        elif kind == "double":
            data[start:start] = data[start : start + length]
        else:
            other = draw(st.sampled_from(known))
            data[start : start + length] = other[start : start + length]
    return bytes(data)


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files(reader):
    with sandbox() as folder:

        @settings(max_examples=20 if reader in {"dicom", "zip"} else 50)
        @given(damaged(reader))
        def keeps_its_promises(data):
            check(reader, data, folder)

        keeps_its_promises()


@pytest.mark.parametrize("reader", ["nrrd", "mha"])
def test_headers_of_nonsense(reader):
    """Fields with values that nobody expects, added to a sound header or in the place of what it says."""
    head, colon = (b"NRRD0004\n", ": ") if reader == "nrrd" else (b"", " = ")
    lines = seeds(reader)["raw"].decode("latin-1").splitlines()
    fields = [line.split(colon)[0] for line in lines if colon in line] + ["byte skip", "line skip", "HeaderSize"]

    with sandbox() as folder:

        @settings(max_examples=50)
        @given(st.dictionaries(st.sampled_from(fields), NONSENSE, min_size=1, max_size=3))
        def keeps_its_promises(changes):
            sound = seeds(reader)["raw"]
            for key, value in changes.items():
                line = f"{key}{colon}{value}\n".encode()
                start = sound.find(f"\n{key}{colon}".encode()) + 1
                end = sound.find(b"\n", start) + 1 if start else len(head)
                start = start or len(head)
                sound = sound[:start] + line + sound[end:]
            check(reader, sound, folder)

        keeps_its_promises()


def test_dicom_tags_of_nonsense():
    """Elements that are read, with values of any kind or length, of one slice in a series."""
    values = NONSENSE | st.sampled_from(["1\\2", "1\\2\\3", "1\\0\\0\\0\\1\\0", "1e6\\1e6\\1e6", "-0\\0\\0", "\\\\\\"])
    tags = st.sampled_from([*pydicom_tags(), "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"])
    first, other, *_ = seeds("dicom")["classic"].split(NEXT_FILE)

    with sandbox() as folder:

        @settings(max_examples=25)
        @given(st.dictionaries(tags, values, min_size=1, max_size=3))
        def keeps_its_promises(changes):
            check("dicom", NEXT_FILE.join([_with_raw(first, changes), other]), folder)

        keeps_its_promises()


def pydicom_tags():
    from tomoseg.files.dicom.headers import _HEADER_TAGS

    return [tag for tag in _HEADER_TAGS if not tag.endswith("Sequence")]


def _with_raw(data, changes):
    """Elements replaced by bytes, whatever they should hold."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in changes.items():
        tag = keyword_dict[keyword]
        raw = value.encode("utf-8")
        raw += b" " * (len(raw) % 2)
        kind = pydicom.datadict.dictionary_VR(tag).split(" ")[0]
        dataset._dict[pydicom.tag.Tag(tag)] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(tag), kind, len(raw), raw, 0, False, True
        )
    stream = io.BytesIO()
    with pydicom.config.disable_value_validation():
        dataset.save_as(stream)
    return stream.getvalue()


class TestBombs:
    """A small stream that claims much is refused before memory is taken, and one that holds much is not read on."""

    def test_a_header_that_claims_more_than_any_stream_of_this_size_holds(self, tmp_path):
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress(nifti1(VOXELS, dim=(3, 4000, 4000, 4000))))
        with pytest.raises(InputError, match=r"expected 128000000000 bytes of voxels .* that cannot hold them"):
            read_scan(path)

    def test_a_stream_that_goes_on_and_on(self, tmp_path):
        content = nifti1(VOXELS) + bytes(64 << 20)
        with sandbox() as folder:
            assert check("nifti", gzip.compress(content, 9), folder)
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content, 9))
        assert "bytes follow the last voxel" in read_scan(tmp_path / "a.nii.gz").warnings[0].message

    def test_a_gap_before_the_voxels_that_is_longer_than_the_stream(self):
        with sandbox() as folder:
            assert not check("nifti", gzip.compress(nifti1(VOXELS, vox_offset=3e6) + bytes(1 << 20)), folder)


class TestThePromises:
    """Each is noticed when it is broken."""

    def check_with(self, monkeypatch, read):
        monkeypatch.setattr(promises, "read_scan", read)
        with sandbox() as folder:
            return check("nrrd", b"anything", folder)

    def test_of_errors(self, monkeypatch):
        with pytest.raises(ZeroDivisionError):
            self.check_with(monkeypatch, lambda path: 1 / 0)

    @pytest.mark.parametrize("words", ["two\nlines", "\x1b[31mred", "x" * 5000])
    def test_of_one_printable_line(self, monkeypatch, words):
        def read(path):
            raise InputError(words)

        with pytest.raises(BrokenPromiseError, match="expected one printable line"):
            self.check_with(monkeypatch, read)

    @pytest.mark.parametrize("name", ["../outside.raw", "/etc/hostname"])
    def test_of_what_is_opened(self, monkeypatch, name):
        with pytest.raises(BrokenPromiseError, match="expected files of the input to be opened for reading"):
            self.check_with(monkeypatch, lambda path: (path.parent / name).read_bytes())

    def test_of_what_is_written(self, monkeypatch):
        with pytest.raises(BrokenPromiseError, match="expected files of the input to be opened for reading"):
            self.check_with(monkeypatch, lambda path: path.with_name("b").write_bytes(b""))

    def test_of_memory(self, monkeypatch):
        def read(path):
            bytearray(100 << 20)
            raise InputError("all well")

        with pytest.raises(BrokenPromiseError, match="expected memory by the size of the input, got 1048"):
            self.check_with(monkeypatch, read)

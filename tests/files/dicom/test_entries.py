import os
import zipfile

import numpy as np
import pytest

from tests.files.dicom.series import image, save
from tomoseg.errors import InputError
from tomoseg.files.dicom.entries import entries, inflated
from tomoseg.files.paths import climbs
from tomoseg.files.scan import look, read_scan


@pytest.fixture
def series(rng, tmp_path):
    stored = rng.integers(-1000, 1000, (3, 4, 5), np.int16)
    return save([image(one, (0, 0, 2 * k), k) for k, one in enumerate(stored)], tmp_path / "series")


def packed(path, files, **kept):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_an_archive_is_the_folder_in_it(series, tmp_path):
    files = {f"deep/er/{path.name}": path.read_bytes() for path in series.iterdir()} | {"notes.txt": b"hello"}
    path = packed(tmp_path / "a.zip", files)
    before = sorted(tmp_path.rglob("*"))
    volume, expected = read_scan(path), read_scan(series)
    np.testing.assert_array_equal(volume.hu, expected.hu)
    np.testing.assert_array_equal(volume.affine, expected.affine)
    assert volume.source.slices.images[0].member == "deep/er/000.dcm"
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked to disk


@pytest.mark.parametrize(
    "name",
    ["../a.dcm", "a/../../b", "/etc/passwd", r"..\a", r"C:\a.dcm", r"\a", "../", "a/../b/", r"\\host\a", "C:a"],
)
def test_names_that_climb_are_refused(series, tmp_path, name):
    assert climbs(name)
    path = packed(tmp_path / "a.zip", {"0.dcm": (series / "000.dcm").read_bytes(), name: b"x"})
    with pytest.raises(InputError, match=r"got one that leads outside; do not trust it"):
        read_scan(path)


@pytest.mark.parametrize("name", ["a", "a/b.dcm", "a..b/c", "IM 0..1"])
def test_names_that_do_not_climb(name):
    assert not climbs(name)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("tomoseg.files.dicom.entries.ALWAYS_ALLOWED_BYTES", 1 << 20)
    path = packed(tmp_path / "a.zip", {"a": bytes(2 << 20), "b": bytes(2 << 20)})
    with pytest.raises(InputError, match=r"\d+ bytes that claim to unpack to 4194304; do not trust it"):
        read_scan(path)


def test_an_archive_whose_members_overlap_is_refused(tmp_path):
    path = packed(tmp_path / "a.zip", {"a": np.random.default_rng(0).bytes(5000), "b": b"y"})
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    data = bytearray(path.read_bytes())
    second = data.index(b"PK\x01\x02", start + 4)
    data[second + 20 : second + 28] = data[start + 20 : start + 28]  # the second claims the first one's bytes
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"do not trust it"), entries(look(path)):
        pass


def test_a_member_without_a_name_is_refused(series, tmp_path):
    path = packed(tmp_path / "a.zip", {"0": (series / "000.dcm").read_bytes()})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 28], data[entry + 30] = 0, 1  # its one letter becomes an extra field
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"got one that leads outside; do not trust it"):
        read_scan(path)


def test_two_members_of_one_name_are_refused(series, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.dcm", (series / "000.dcm").read_bytes())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("0.dcm", b"other")
    with pytest.raises(InputError, match=r"expected each name once in the archive, got one twice; do not trust it"):
        read_scan(path)


def test_more_members_than_a_scan_has(series, tmp_path, monkeypatch):
    monkeypatch.setattr("tomoseg.files.dicom.entries.MOST_FILES", 2)
    path = packed(tmp_path / "a.zip", {path.name: path.read_bytes() for path in series.iterdir()})
    with pytest.raises(InputError, match=r"expected one scan, got an archive of 3 files; put only one scan in it"):
        read_scan(path)
    with pytest.raises(InputError, match=r"expected one scan, got more than 2 files; pass the folder of one scan"):
        read_scan(series)


def test_links_and_archives_within_an_archive_are_not_followed(series, tmp_path):
    """A link is a small text in an archive; an archive in it may be a bomb again."""
    bomb = packed(tmp_path / "inner.zip", {"0": bytes(1 << 20)}).read_bytes()
    path = packed(tmp_path / "a.zip", {path.name: path.read_bytes() for path in series.iterdir()} | {"b.zip": bomb})
    link = zipfile.ZipInfo("link.dcm")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, str(series / "000.dcm"))
    volume = read_scan(path)
    assert volume.shape == (5, 4, 3)
    assert tuple(map(str, volume.warnings)) == (f"{path}: Left out: files that are not DICOM (2).",)


def test_a_member_that_is_larger_than_it_claims_is_cut(series, tmp_path):
    path = packed(tmp_path / "a.zip", {"0.dcm": (series / "000.dcm").read_bytes()})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (200).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"^[^/]*/\S*a\.zip: expected (CT slices|a whole DICOM file)"):
        read_scan(path)


@pytest.mark.parametrize(("place", "value"), [(8, 0x0800), (16, 0xFFFF), (10, 99)])
def test_a_list_of_members_that_makes_no_sense_is_refused(series, tmp_path, place, value):
    """Names that are no UTF-8, members that begin past the end, a method that nobody knows."""
    path = packed(tmp_path / "a.zip", {"\u00ff.dcm".encode("cp437", "replace").decode("cp437"): b"x"})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 46] = 0xFF
    data[entry + place : entry + place + 2] = value.to_bytes(2, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"expected (a whole zip archive|CT slices|a whole DICOM file)"):
        read_scan(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    for name in ("a.nii", "a.mha", "a.nrrd"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match=r"expected a file or a folder, got neither, perhaps a pipe; name a file"):
            read_scan(tmp_path / name)


def test_a_damaged_archive_is_refused(series, tmp_path):
    path = packed(tmp_path / "a.zip", {"0.dcm": (series / "000.dcm").read_bytes()})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"expected a whole zip archive"):
        read_scan(path)


def test_an_archive_with_a_password_is_refused(series, tmp_path):
    path = packed(tmp_path / "a.zip", {"0.dcm": (series / "000.dcm").read_bytes()})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"expected an archive without a password"):
        read_scan(path)


def test_no_more_than_a_limit_is_inflated():
    import zlib

    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = packer.compress(bytes(1000)) + packer.flush()
    assert inflated(data, 1000).read() == bytes(1000)
    with pytest.raises(InputError, match=r"expected up to 999 bytes from \d+ deflated ones, got more"):
        inflated(data, 999)


def test_dicom_is_known_by_looking(series, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.dcm").write_text("text" * 100)
    (tmp_path / "notes" / ".hidden").write_bytes(bytes(128) + b"DICM")
    assert look(series).is_dicom
    assert look(tmp_path).is_dicom
    assert look(series / "000.dcm").is_dicom
    assert not look(tmp_path / "notes" / "a.dcm").is_dicom
    assert not look(tmp_path / "gone").is_dicom
    with pytest.raises(InputError, match=r"notes: expected a folder with one scan, got none; check the path"):
        look(tmp_path / "notes")


def test_a_series_is_for_dicom_alone(tmp_path):
    (tmp_path / "a.nii").write_bytes(bytes(400))
    with pytest.raises(InputError, match=r"expected DICOM for --series"):
        read_scan(tmp_path / "a.nii", series=1)
    with pytest.raises(InputError, match=r"expected a voxel size in mm above 0,"):
        read_scan(tmp_path / "a.nii", assume_spacing=(1.0, 0.0, 1.0))

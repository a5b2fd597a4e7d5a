"""Nothing of the patient's leaves a scan: every byte that is written or shown is searched for what was planted."""

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from tests.files.dicom.series import enhanced, image, save
from tests.files.handmade import nifti1
from tomoseg.cli import main
from tomoseg.errors import TomosegError
from tomoseg.files.nifti import write_nifti
from tomoseg.files.scan import read_scan

SECRET, SECRET_UID, SECRET_DAY = "QZXSECRET", "1.2.840.4711471147114711", "19620229"
SECRETS = (SECRET.encode(), SECRET_UID.encode(), SECRET_DAY.encode())
BY_KIND = {"UI": SECRET_UID, "DA": SECRET_DAY, "DT": f"{SECRET_DAY}120000", "PN": f"{SECRET}^JANE", "UR": f"x:{SECRET}"}
TEXTS = ("LO", "SH", "LT", "ST", "UT", "UC", "AE")
GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040, 0x4008)
NOT_PLANTED = ("SOPClassUID", "MediaStorageSOPClassUID")
HU = np.random.default_rng(4).integers(-1000, 1000, (6, 5, 4), np.int16)


def predict(scan, output, model, *options):
    where = ["-i", str(scan), "-o", str(output), "-m", str(model), "--device", "cpu", "--engine", "torch"]
    return main(["predict", *where, *options])


def planted(dataset: Dataset) -> Dataset:
    """With the secret in every text, name, day and identifier that DICOM has in the groups about people and places."""
    count = 0
    for tag, (kind, _, _, retired, keyword) in DicomDictionary.items():
        if tag >> 16 in GROUPS and keyword and not retired and keyword not in NOT_PLANTED:
            value = BY_KIND.get(kind, SECRET if kind in TEXTS else None)
            if value is not None:
                setattr(dataset, keyword, value)
                count += 1
    assert count > 300
    private = dataset.private_block(0x0009, SECRET, create=True)
    private.add_new(1, "LO", SECRET)
    return dataset


def slices():
    stored = HU.transpose(2, 1, 0)
    made = [planted(image(one, (0, 0, 5 * k), k, (3, 3))) for k, one in enumerate(stored)]
    for number, one in enumerate(made):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{SECRET_UID}.{number}"
    return made


def dicom(folder):
    """In folders and files that are called after the patient."""
    inner = save(slices(), folder / SECRET)
    for path in sorted(inner.iterdir()):
        path.rename(path.with_name(f"{SECRET}_{path.name}"))
    return folder


def dicom_odd(folder):
    """Several series, slices that repeat and slices that lack: everything that makes messages."""
    made = slices()
    del made[2]
    other = planted(image(HU[:, :, 0].T, (0, 0, 90), 9, (3, 3)))
    other.SeriesInstanceUID = f"{SECRET_UID}.99"
    again = planted(image(HU[:, :, 1].T, (0, 0, 5), 12, (3, 3)))
    save([*made, other, again], folder / SECRET)
    (folder / f"{SECRET}.txt").write_text(SECRET)
    return folder


def dicom_many_frames(folder):
    made = planted(enhanced(HU.transpose(2, 1, 0), [(0, 0, 5 * k) for k in range(4)], (3, 3)))
    return save([made], folder) / "000.dcm"


def archive(folder):
    folder.mkdir()
    with zipfile.ZipFile(folder / "scan.zip", "w") as made:
        for number, one in enumerate(slices()):
            stream = io.BytesIO()
            one.save_as(stream, enforce_file_format=True)
            made.writestr(f"{SECRET}/{number}.dcm", stream.getvalue())
        made.comment = SECRET.encode()
    return folder / "scan.zip"


def nifti(folder):
    folder.mkdir()
    note = struct.pack("<2i", 32, 6) + SECRET.encode().ljust(24, b"\0")
    content = bytearray(nifti1(HU, sform=((3, 0, 0, 0), (0, 3, 0, 0), (0, 0, 5, 0)), descrip=SECRET.encode(),
                               vox_offset=384, padding=b"\1\0\0\0" + note))  # fmt: skip
    for offset in (4, 14, 228, 328):  # data_type, db_name, aux_file, intent_name
        content[offset : offset + len(SECRET)] = SECRET.encode()
    (folder / "scan.nii.gz").write_bytes(gzip.compress(bytes(content)))
    return folder / "scan.nii.gz"


def nrrd(folder):
    folder.mkdir()
    lines = ["NRRD0005", f"# {SECRET}", f"content: {SECRET}", "type: short", "dimension: 3", "space: RAS",
             "sizes: 6 5 4", "space directions: (3,0,0) (0,3,0) (0,0,5)", "endian: little", "encoding: gzip",
             f"sample units: {SECRET}", f"{SECRET}:={SECRET}", f"PatientName:={SECRET}", "", ""]  # fmt: skip
    (folder / "scan.nrrd").write_bytes("\n".join(lines).encode() + gzip.compress(HU.tobytes("F")))
    return folder / "scan.nrrd"


def metaimage(folder):
    folder.mkdir()
    lines = ["ObjectType = Image", f"Comment = {SECRET}", f"Name = {SECRET}", f"PatientID = {SECRET}", "NDims = 3",
             "TransformMatrix = 1 0 0 0 1 0 0 0 1", "ElementSpacing = 3 3 5", "DimSize = 6 5 4",
             "ElementType = MET_SHORT", f"ElementDataFile = {SECRET}.raw", ""]  # fmt: skip
    (folder / "scan.mhd").write_text("\n".join(lines))
    (folder / f"{SECRET}.raw").write_bytes(HU.tobytes("F"))
    return folder / "scan.mhd"


SCANS = (dicom, dicom_odd, dicom_many_frames, archive, nifti, nrrd, metaimage)
FORMATS = ("--format", "nifti", "nrrd", "stl", "ply")
EVERYTHING = (*FORMATS, "--preview", "--statistics", "--confidence", "--triage")


def assert_nothing_told(folder, shown):
    written = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    for path in folder.rglob("*"):
        assert SECRET not in path.name
    for path in written:
        content = path.read_bytes()
        content += gzip.decompress(content) if content[:2] == b"\x1f\x8b" else b""
        assert [secret for secret in SECRETS if secret in content] == [], path.name
    assert [secret for secret in SECRETS if secret in shown.encode()] == []
    return written


@pytest.mark.parametrize("ml", [True, False], ids=["map", "masks"])
@pytest.mark.parametrize("make", SCANS, ids=lambda make: make.__name__)
def test_no_byte_of_a_result_names_the_patient(make, ml, model, tmp_path, capfd):
    given = make(tmp_path / "in")
    content = b"".join(path.read_bytes() for path in (tmp_path / "in").rglob("*") if path.is_file())
    if make is nifti:
        content = gzip.decompress(content)
    assert SECRETS[0] in content
    assert predict(given, tmp_path / "out", model, *EVERYTHING, *(["--ml"] if ml else [])) == 0
    shown = capfd.readouterr()
    written = assert_nothing_told(tmp_path / "out", shown.out + shown.err)
    assert len(written) >= (6 if ml else 9)


@pytest.mark.parametrize("make", SCANS, ids=lambda make: make.__name__)
def test_no_byte_of_an_inspection_names_the_patient(make, tmp_path, capfd):
    given = make(tmp_path / "in")
    assert main(["inspect", str(given), "-o", str(tmp_path / "out" / "seen.json")]) == 0
    shown = capfd.readouterr()
    assert assert_nothing_told(tmp_path / "out", shown.out + shown.err)


def test_dicom_results_alone_carry_the_patient_on(model, tmp_path, capfd):
    """A PACS files them under the patient; their names and what is shown say nothing still."""
    assert predict(dicom(tmp_path / "in"), tmp_path / "out", model, "--format", "dicom-seg", "rtstruct") == 0
    shown = capfd.readouterr()
    results = sorted((tmp_path / "out").glob("*.dcm"))
    assert len(results) == 2
    for path in results:
        assert SECRETS[0] in path.read_bytes()
        path.unlink()
    assert_nothing_told(tmp_path / "out", shown.out + shown.err)


@pytest.mark.parametrize("make", SCANS, ids=lambda make: make.__name__)
def test_no_message_about_a_damaged_scan_names_the_patient(make, model, tmp_path, capfd):
    """Files cut at many places, some of which cannot be read any more."""
    given = make(tmp_path / "in")
    files = [path for path in sorted((tmp_path / "in").rglob("*")) if path.is_file()]
    whole = {path: path.read_bytes() for path in files}
    told = []
    for share in (0.02, 0.2, 0.5, 0.8, 0.97, 0.995):
        for path, content in whole.items():
            path.write_bytes(content[: int(share * len(content))])
        try:
            told += map(str, read_scan(given).warnings)
        except TomosegError as error:
            told.append(str(error))
    assert len(told) >= 3
    assert_nothing_told(tmp_path / "out", " ".join(told))
    assert predict(given, tmp_path / "out", model) == 1
    shown = capfd.readouterr()
    assert_nothing_told(tmp_path / "out", shown.out + shown.err)


def test_the_search_finds_what_is_there(tmp_path):
    for name, content in {"a.nii.gz": gzip.compress(SECRETS[0]), "b.json": SECRETS[1], "c.png": SECRETS[2]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(content)
        with pytest.raises(AssertionError, match=name):
            assert_nothing_told(tmp_path / name, "")
    assert SECRETS[0] not in zlib.compress(SECRETS[0])  # so files are unpacked before they are searched
    with pytest.raises(AssertionError, match="QZX"):
        assert_nothing_told(tmp_path / "gone", f"warning: {SECRET}")


def test_nothing_of_the_patient_in_a_dataset_made_of_odd_dicom(tmp_path, capfd):
    """Two workers, whose libraries have warnings of their own, with and without what is left out."""
    for name, make in (("a", dicom), ("b", dicom_odd), ("c", dicom_many_frames)):
        make(tmp_path / "data" / name / "ct")
        grid = read_scan(tmp_path / "data" / name / "ct").source
        write_nifti(
            tmp_path / "data" / name / "segmentations" / "liver.nii.gz", np.ones(grid.canonical_shape, bool), grid
        )
    dicom(tmp_path / "data" / f"{SECRET_UID}.7")
    grid = ["--grid.mode", "native", "--grid.crop", "none", "--workers", "2"]
    assert main(["preprocess", str(tmp_path / "data"), "-o", str(tmp_path / "out"), *grid]) == 1
    assert main(["labels", str(tmp_path / "data")]) == 1
    main(["check", str(tmp_path / "data"), "-o", str(tmp_path / "checked")])
    told = capfd.readouterr()
    shown = (told.out + told.err).replace(f"/{SECRET}", "")  # the name of a folder that the user gave
    assert "3 cases (case folders): 3 DICOM; 1 left out" in told.err
    assert "Warning" not in shown
    files = [path for folder in ("out", "checked") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    for secret in SECRETS:
        assert secret not in shown.encode()
        assert not [path for path in files if secret in path.read_bytes().replace(f"/{SECRET}".encode(), b"")]

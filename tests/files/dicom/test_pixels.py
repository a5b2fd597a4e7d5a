import tracemalloc

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.files.dicom.series import enhanced, image, save
from tomoseg.errors import InputError, TomosegError
from tomoseg.files.scan import read_scan
from tomoseg.files.stack import AIR_HU

POSITIONS = [(0, 0, 2), (0, 0, 6), (0, 0, 4)]


@pytest.fixture
def stored(rng):
    """Three smooth slices with noise, so that every coder has something to do."""
    y, x = np.mgrid[:64, :80]
    return np.stack([9 * x - 10 * y + k * 100 + rng.integers(-9, 9, x.shape) for k in range(3)]).astype(np.int16)


def check(volume, stored, within=0):
    expected = stored[[0, 2, 1]].transpose(2, 1, 0)[::-1, ::-1]
    assert volume.warnings == ()
    np.testing.assert_allclose(volume.hu, expected, rtol=0, atol=within)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed(stored, tmp_path, syntax):
    slices = [image(one, p, k, syntax=syntax) for k, (one, p) in enumerate(zip(stored, POSITIONS, strict=True))]
    check(read_scan(save(slices, tmp_path)), stored)


@pytest.mark.parametrize(
    ("syntax", "options", "within"),
    [
        (RLELossless, {}, 0),
        (JPEGLSLossless, {}, 0),
        (JPEGLSNearLossless, {"jls_error": 2}, 2),
        (JPEG2000Lossless, {}, 0),
        (JPEG2000, {"j2k_psnr": [90]}, 30),
    ],
)
def test_compressed(stored, tmp_path, syntax, options, within):
    slices = [image(one, p, k) for k, (one, p) in enumerate(zip(stored, POSITIONS, strict=True))]
    for one in slices:
        one.compress(syntax, generate_instance_uid=False, **options)
    check(read_scan(save(slices, tmp_path)), stored, within)


@pytest.mark.parametrize(
    "place", [8, 12, 16, 20, 24, 28, 32, 36]
)  # extents and offsets, of the picture and of its tiles
def test_jpeg_2000_of_another_size_by_its_own_header(stored, tmp_path, place):
    one = image(stored[0], POSITIONS[0], 0)
    one.compress(JPEG2000Lossless, generate_instance_uid=False)
    frame = bytearray(get_frame(one.PixelData, 0, number_of_frames=1))
    frame[place : place + 4] = bytes(4) if place in (24, 28) else b"\xff" * 4
    one.PixelData = encapsulate([bytes(frame)])
    with pytest.raises(
        InputError, match="expected a JPEG 2000 picture of 64 rows of 80 pixels, got one of another size"
    ):
        read_scan(save([one], tmp_path) / "000.dcm")


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
def test_an_enhanced_file_has_a_scale_a_frame(stored, tmp_path, syntax):
    dataset = enhanced(stored, POSITIONS, scales=[(1, 0), (1, 0), (1, -24)])
    if syntax is not None:
        dataset.compress(syntax, generate_instance_uid=False)
    expected = stored - np.array([0, 0, 24], np.int16)[:, None, None]
    volume = read_scan(save([dataset], tmp_path) / "000.dcm")
    check(volume, expected)
    assert volume.spacing_mm == (1, 1, 2)
    assert [one.frame for one in volume.source.slices.images] == [0, 2, 1]


def test_an_enhanced_file_of_two_times_is_two_series(stored, tmp_path):
    dataset = enhanced(np.concatenate([stored, stored + 7]), POSITIONS * 2)
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence = [pydicom.Dataset()]
        frame.FrameContentSequence[0].TemporalPositionIndex = 1 + number // 3
    path = save([dataset], tmp_path) / "000.dcm"
    with pytest.raises(InputError, match="got 2 of the same part of the body, and nothing says which is meant;"):
        read_scan(path)
    check(read_scan(path, series=1), stored)
    check(read_scan(path, series=2), stored + 7)


@pytest.mark.parametrize("signed", [True, False])
def test_padding_written_as_the_other_sign(tmp_path, signed):
    values = np.array([[-2000, 5]], np.int16) if signed else np.array([[63536, 5]], np.uint16)
    slices = [image(values, (0, 0, k), k) for k in (0, 1)]
    for one in slices:
        one.add_new("PixelPaddingValue", "US" if signed else "SS", 63536 if signed else -2000)
    assert read_scan(save(slices, tmp_path)).hu[::-1, 0, 0].tolist() == [AIR_HU, 5]


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"RescaleSlope": 0}, r"expected a rescale slope other than 0"),
        ({"PixelData": b"12345678"}, r"expected 10240 bytes of pixels or more, got 8"),
        ({"PixelData": None}, r"expected pixels, got a file without"),
        ({"Rows": 60000, "Columns": 60000}, r"expected images of up to 8192 x 8192, got 1 of 60000 x 60000"),
        ({"NumberOfFrames": 2_000_000_000}, r"expected images of up to"),
        ({"NumberOfFrames": 90_000}, r"expected images of up to"),
        ({"NumberOfFrames": 50}, r"expected 512000 bytes of pixels or more"),
        ({"BitsAllocated": 24}, r"expected 15360 bytes of pixels or more, got 10240"),
        ({"BitsAllocated": 12}, r"expected a whole DICOM file, got one that cannot be read"),
    ],
)
def test_what_cannot_be_decoded(stored, tmp_path, tags, words):
    path = save([image(stored[0], **tags)], tmp_path) / "000.dcm"
    with pytest.raises(TomosegError, match=words):
        read_scan(path)


def test_a_length_that_lies_takes_no_memory(stored, tmp_path):
    """An element that claims 1 GiB in a file of 11 kB: what is there is read, and no more is asked for."""
    path = save([image(stored[0], InstitutionName="Here")], tmp_path) / "000.dcm"
    data = path.read_bytes()
    start = data.index(b"\x08\0\x80\0LO")  # InstitutionName becomes one with a long length
    path.write_bytes(data[:start] + b"\x08\0\x80\0UT\0\0" + (1 << 30).to_bytes(4, "little") + data[start + 8 :])
    tracemalloc.start()
    with pytest.raises(InputError, match=r"got a file that ends too early; copy it again"):
        read_scan(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_pixels_coded_in_next_to_nothing_are_refused(tmp_path):
    """Five frames of 8192 x 8192, 671 MB, in a file of 2 kB."""
    dataset = enhanced(np.zeros((5, 1, 1), np.int16), [(0, 0, k) for k in range(5)], Rows=8192, Columns=8192)
    path = save([dataset], tmp_path) / "000.dcm"
    with pytest.raises(InputError, match=r"got 5 of 8192 x 8192 pixels in \d+ bytes; do not trust the file"):
        read_scan(path)


def test_a_syntax_that_is_not_read_is_named(stored, tmp_path):
    one = image(stored[0])
    save([one], tmp_path)
    data = (tmp_path / "000.dcm").read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    (tmp_path / "000.dcm").write_bytes(data)
    with pytest.raises(InputError, match=r"JPEG-LS or JPEG 2000 pixels, got an unknown transfer syntax; export the"):
        read_scan(tmp_path)


def test_a_deflated_file_that_would_unpack_to_too_much_is_refused(stored, tmp_path, monkeypatch):
    monkeypatch.setattr("tomoseg.files.dicom.headers.INFLATED_BYTES", 1000)
    monkeypatch.setattr("tomoseg.files.dicom.headers.INFLATED_RATIO", 1)
    save([image(np.zeros((50, 50), np.int16), syntax=DeflatedExplicitVRLittleEndian)], tmp_path)
    with pytest.raises(InputError, match=r"deflated ones, got more; do not trust the file"):
        read_scan(tmp_path)


class TestRealFiles:
    """One slice in many transfer syntaxes; a lossy coder is off by what it lost."""

    LOSSLESS = ("LittleEndianExplicit", "LittleEndianImplicit", "BigEndianExplicit", "DeflatedExplicit", "RLELossless",
                "JPEGProcess14SV1", "JPEGProcess14Transfer", "JPEGLSLossless", "JPEG2000LosslessOnly")  # fmt: skip

    @pytest.fixture
    def slices(self, test_data):
        return test_data / "hostile" / "transfer_syntaxes"

    def find(self, slices, part):
        return next(path for path in slices.iterdir() if part in path.name)

    @pytest.mark.parametrize("part", LOSSLESS)
    def test_lossless(self, slices, part):
        expected = read_scan(slices / "CTImage.dcm").hu
        np.testing.assert_array_equal(read_scan(self.find(slices, part)).hu, expected)

    @pytest.mark.parametrize(("part", "within"), [("JPEGLSLossy", 4), ("JPEG2000Transfer", 40)])
    def test_lossy(self, slices, part, within):
        expected = read_scan(slices / "CTImage.dcm").hu.astype(int)
        assert 0 < np.abs(read_scan(self.find(slices, part)).hu - expected).max() <= within

    @pytest.mark.parametrize("part", ["JPEGProcess2_4", "JPEGProcess6_8", "JPEGProcess10_12"])
    def test_what_is_not_read_is_named(self, slices, part):
        with pytest.raises(InputError, match=r"expected uncompressed, RLE, lossless JPEG.*, got JPEG .*; export"):
            read_scan(self.find(slices, part))

    def test_a_sign_that_the_coder_has_otherwise(self, test_data):
        volume = read_scan(test_data / "hostile" / "pydicom_ct" / "J2K_pixelrep_mismatch.dcm")
        assert (volume.hu.min(), volume.hu.max()) == (-2000, 1896)

    def test_the_classic_series_is_taken_beside_the_enhanced_one(self, test_data):
        folder = test_data / "hostile" / "enhanced_and_classic_in_one_folder"
        classic, one_file = read_scan(folder, series=1), read_scan(folder, series=2)
        np.testing.assert_array_equal(read_scan(folder).hu, classic.hu)
        np.testing.assert_array_equal(classic.affine, one_file.affine)
        np.testing.assert_array_equal(classic.hu, one_file.hu)  # it has its rescale where single images have it
        assert "no rescale" not in {word.kind for word in one_file.warnings}

"""Bits of a pixel that are not stored ones hold anything: no transfer syntax or decoder may let them into HU."""

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.files.dicom.series import image, save
from tomoseg.files.dicom.pixels import BY_GDCM, BY_OPENJPEG, BY_PYDICOM, UNCOMPRESSED
from tomoseg.files.scan import read_scan
from tomoseg.files.stack import AIR_HU

LOSSLESS = [
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
    JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless,
]  # fmt: skip
USED = 12
RUBBISH = {
    "the sign is not carried on": lambda rng, shape: np.zeros(shape, np.uint16),
    "overlays": lambda rng, shape: rng.integers(0, 16, shape, np.uint16) << USED,
    "ones": lambda rng, shape: np.full(shape, 0xF000, np.uint16),
}


@pytest.fixture
def values(rng):
    """A slope with noise from -800 to 800, so that every coder has something to do."""
    y, x = np.mgrid[:64, :80]
    return (10 * x - 12 * y + rng.integers(-9, 9, x.shape)).astype(np.int16)


def coded(stored, syntax, folder, **options):
    """A file of all 16 bits in a syntax, whose header then says that 12 are used."""
    one = image(stored, syntax=syntax if syntax in UNCOMPRESSED else None)
    if syntax in {JPEGLossless, JPEGLosslessSV1}:
        one = by_gdcm(one, syntax, folder)
    elif syntax not in UNCOMPRESSED:
        one.compress(syntax, generate_instance_uid=False, **options)
    one.BitsStored, one.HighBit = USED, USED - 1
    return one


def by_gdcm(one, syntax, folder):
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(save([one], folder / "plain") / "000.dcm"))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(folder / "coded.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return pydicom.dcmread(folder / "coded.dcm")


def read(one, folder):
    return read_scan(save([one], folder / "in") / "000.dcm").hu[::-1, ::-1, 0].T


def test_all_syntaxes_that_are_read_are_here():
    """JPEG baseline has pixels of one byte, all of whose bits are used."""
    all_read = BY_PYDICOM | BY_GDCM | BY_OPENJPEG
    assert all_read - {*LOSSLESS, JPEGLSNearLossless, JPEG2000} == {"1.2.840.10008.1.2.4.50"}


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("rubbish", RUBBISH)
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.keyword)
def test_bits_above_the_stored_ones(values, rng, tmp_path, syntax, rubbish, signed):
    hu = values if signed else values + np.int16(1024)
    stored = (hu.view(np.uint16) & 0xFFF) | RUBBISH[rubbish](rng, hu.shape)
    stored = stored.view(np.int16) if signed else stored
    np.testing.assert_array_equal(read(coded(stored, syntax, tmp_path), tmp_path), hu)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_bits_below_the_stored_ones(values, rng, tmp_path, syntax):
    stored = (values << 4) | rng.integers(0, 16, values.shape, np.int16)
    one = coded(stored, syntax, tmp_path)
    one.HighBit = 15
    np.testing.assert_array_equal(read(one, tmp_path), values)


@pytest.mark.parametrize(
    ("syntax", "options"), [(JPEGLSNearLossless, {"jls_error": 2}), (JPEG2000, {"j2k_psnr": [90]})]
)
def test_what_a_lossy_coder_adds_at_the_ends_is_cut(tmp_path, syntax, options):
    """Metal at the highest value: 4095 comes back as some more, which must not become 1."""
    stored = np.full((64, 80), 2000, np.uint16)
    stored[16:48:2, 20:60:3] = 4095
    hu = read(coded(stored, syntax, tmp_path, **options), tmp_path)
    assert hu.max() == 4095
    np.testing.assert_allclose(hu, stored, rtol=0, atol=30)


def test_rubbish_that_was_coded_with_loss(values, rng, tmp_path):
    stored = (values + 1024).astype(np.uint16) | rng.integers(0, 16, values.shape, np.uint16) << USED
    hu = read(coded(stored, JPEGLSNearLossless, tmp_path, jls_error=2), tmp_path)
    np.testing.assert_allclose(hu, values + 1024, rtol=0, atol=2)


def test_padding_is_found_behind_unused_bits(tmp_path):
    """-2000 does not fit 12 bits without a sign: what is left of it, 2096, stands for it."""
    stored = np.array([[63536, 5]], np.uint16)
    one = image(stored, BitsStored=12, HighBit=11)
    one.add_new("PixelPaddingValue", "SS", -2000)
    assert read(one, tmp_path).tolist() == [[AIR_HU, 5]]

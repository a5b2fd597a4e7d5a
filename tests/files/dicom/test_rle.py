import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.pixels.decoders.rle import _rle_decode_frame

from tomoseg.files.dicom.rle import rle_frame


def decoded(frame, shape, bits):
    """By pydicom's own decoder."""
    return np.frombuffer(_rle_decode_frame(frame, *shape, 1, bits), f"<u{bits // 8}").reshape(shape)


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 4), st.integers(1, 300)),
        elements=st.sampled_from([0, 1, 255]),
        fill=st.just(0),
    )
)
def test_pydicom_decodes_the_same_values(values):
    found = decoded(rle_frame(values), values.shape, 8 * values.itemsize)
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_noise_decodes(rng, kind):
    values = rng.integers(0, np.iinfo(kind).max, (17, 513)).astype(kind)
    np.testing.assert_array_equal(decoded(rle_frame(values), values.shape, 8 * values.itemsize), values)


def test_the_runs_of_a_frame_by_hand():
    frame = rle_frame(np.array([[5, 5, 5, 1, 2], [9, 9, 9, 9, 9]], np.uint8))
    assert frame[:8] == bytes([1, 0, 0, 0, 64, 0, 0, 0])  # one segment, which begins at 64
    # three times 5; two bytes as they are, 1 and 2; five times 9; one byte to make it even
    assert frame[64:] == bytes([254, 5, 1, 1, 2, 252, 9, 0])

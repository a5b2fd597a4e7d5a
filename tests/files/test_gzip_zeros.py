import gzip
import io
import zlib

from hypothesis import given
from hypothesis import strategies as st

from tomoseg.files.gzip_zeros import ZerosGzip

PIECES = st.lists(st.one_of(st.binary(max_size=200), st.integers(0, 1_100_000)), max_size=6)


def write(pieces):
    out = io.BytesIO()
    with ZerosGzip(out) as member:
        for piece in pieces:
            if isinstance(piece, int):
                member.write_zeros(piece)
            else:
                member.write(piece)
    return out.getvalue()


@given(PIECES)
def test_it_unpacks_to_what_was_written(pieces):
    expected = b"".join(bytes(piece) for piece in pieces)
    written = write(pieces)
    assert gzip.decompress(written) == expected
    unpack = zlib.decompressobj(31)
    assert unpack.decompress(written) == expected
    assert (unpack.eof, unpack.unused_data) == (True, b"")  # one member, which every reader takes whole
    assert write(pieces) == written


def test_zeros_take_next_to_nothing():
    assert len(write([50_000_000])) < 250_000

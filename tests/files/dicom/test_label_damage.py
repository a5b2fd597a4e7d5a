"""Whatever the bytes of a DICOM file of structures, there are masks or one of tomoseg's errors."""

import numpy as np
import pytest

from tests.files.dicom.scans import label_map, series
from tomoseg.errors import TomosegError
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.dicom.segmentation import write_seg
from tomoseg.files.dicom.source import source_series
from tomoseg.files.dicom.structures import write_rtstruct
from tomoseg.files.label_files import open_segments, segment_values

MADE_BY = MadeBy("ab" * 32, "1.2.3", "head-neck")


def damaged(data, rng):
    """The file with a few bytes changed, or cut short."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 8))):
        out[rng.integers(400, len(out))] = rng.integers(0, 256)
    return bytes(out[: rng.integers(400, len(out))] if rng.random() < 0.2 else out)


@pytest.mark.parametrize("kind", ["binary", "labelmap", "rtstruct"])
def test_damaged_files_never_end_in_another_error(tmp_path, rng, kind):
    volume = series(tmp_path / "ct", range(3))
    source, path = source_series(volume.source, "scan"), tmp_path / "a.dcm"
    result = label_map(volume, rng)
    if kind == "rtstruct":
        write_rtstruct(result, source, path, MADE_BY)
    else:
        write_seg(result, source, path, MADE_BY, labelmap=kind == "labelmap")
    data = path.read_bytes()
    read = 0
    for _ in range(40):
        path.write_bytes(damaged(data, rng))
        try:
            for name in segment_values(path) or {}:
                mask = open_segments(path, volume.source).mask(name)
                assert (mask.shape, mask.dtype) == (volume.shape, np.bool_)
                read += 1
        except TomosegError:
            continue
    assert read  # some changes do no harm

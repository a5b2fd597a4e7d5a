"""DICOM scans with masks on them, for tests of what is written."""

import numpy as np

from tests.files.dicom.series import HEAD_FIRST, image, save
from tomoseg.files.scan import read_scan
from tomoseg.labels import LabelSet, Structure
from tomoseg.segmentation import LabelMap, Segmentation

LABELS = LabelSet(
    (
        *LabelSet.total().subset(["spleen", "kidney_right", "liver"]).structures,
        Structure(200, "a structure of my own", colour=(10, 20, 30)),
    )
)
TURNED = (0.96, 0.28, 0, -0.28, 0.96, 0)
PLACE = {"StudyInstanceUID": "1.2.3.4", "FrameOfReferenceUID": "1.2.3.5", "StudyDate": "20240131"}


def series(folder, places=range(5), size=(9, 7), orientation=HEAD_FIRST, **tags):
    """Slices of 9 columns and 7 rows, 2.5 mm apart, in whatever order the places come; read as a scan."""
    columns, rows = size
    slices = [
        image(
            np.full((rows, columns), number, np.int16),
            position=place if isinstance(place, tuple) else (-3.25, 11.5, 2.5 * place),
            number=number + 1,
            pixel=(1.5, 1.25),
            orientation=orientation,
            **PLACE | tags,
        )
        for number, place in enumerate(places)
    ]
    return read_scan(save(slices, folder))


def label_map(volume, rng):
    """Random structures but for the last but one, which is absent."""
    values = rng.choice(np.array([0, 0, 1, 2, 200], np.uint8), volume.shape)
    return LabelMap(values, LABELS, volume.source)


def overlapping(volume, rng):
    """Random masks that overlap; the last but one is absent."""
    masks = rng.random((len(LABELS), *volume.shape)) < 0.4
    masks[2] = False
    return Segmentation.from_packed(np.packbits(masks, axis=0, bitorder="little"), LABELS, volume.source)

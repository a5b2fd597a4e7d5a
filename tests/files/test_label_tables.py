import re

from tests.files.dicom.scans import LABELS
from tomoseg.files.label_tables import itksnap_labels, slicer_colours
from tomoseg.labels import LabelSet


def test_itksnap_finds_every_label():
    """A line as ITK-SNAP's reader takes it apart: seven numbers and a name in quotes."""
    lines = [line for line in itksnap_labels(LabelSet.total()).splitlines() if not line.startswith("#")]
    found = [
        re.fullmatch(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([01])\s+([01])\s+([01])\s+"(.*)"', line) for line in lines
    ]
    rows = [(int(m[1]), (int(m[2]), int(m[3]), int(m[4])), m[8]) for m in found]
    assert rows[0] == (0, (0, 0, 0), "Clear Label")
    assert rows[1:] == [(s.id, s.colour, s.name) for s in LabelSet.total()]


def test_slicer_finds_every_colour():
    rows = [line.split() for line in slicer_colours(LABELS).splitlines() if not line.startswith("#")]
    assert rows[0] == ["0", "background", "0", "0", "0", "0"]
    assert rows[-1] == ["200", "a_structure_of_my_own", "10", "20", "30", "255"]
    assert {len(row) for row in rows} == {6}

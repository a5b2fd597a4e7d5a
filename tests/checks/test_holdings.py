"""What a dataset holds, counted by hand."""

import numpy as np

from tomoseg.checks.holdings import CaseHolding, Holdings, StructureHolding, extent_of
from tomoseg.volume import SourceGrid

CASES = [
    CaseHolding("a", ("jaw", "cord"), {"jaw": 40.0, "cord": 10.0}, (1.0, 1.0, 3.0)),
    CaseHolding("b", ("cord",), {"cord": 0.0}, (0.5, 1.0, 5.0)),
    CaseHolding("c", ("cord", "jaw"), {"jaw": 60.0, "cord": 20.0}, None),
]


def test_of_three_cases():
    found = Holdings.of(CASES, ("jaw", "cord"))
    assert found.cases == 3
    assert found.structures == {
        "jaw": StructureHolding(2, 0, (40.0, 60.0), 50.0),
        "cord": StructureHolding(3, 1, (10.0, 20.0), 15.0),  # the empty one has no volume
    }
    assert found.lacking == {"b": ("jaw",)}
    assert found.spacing_mm == ((0.5, 1.0), (1.0, 1.0), (3.0, 5.0))


def test_where_nothing_was_measured():
    found = Holdings.of([CaseHolding("a", ("jaw",), {}, None)], ("jaw",))
    assert found.structures == {"jaw": StructureHolding(1, None, None, None)}
    assert (found.lacking, found.spacing_mm, found.extent_mm) == ({}, None, None)


def test_what_scans_show():
    """6 x 5 x 4 voxels of 3 x 3 x 5 mm, whose first file axis runs from feet to head."""
    turned = np.zeros((4, 4))
    turned[2, 0], turned[0, 1], turned[1, 2], turned[3, 3] = 5.0, -3.0, 3.0, 1.0
    extent = extent_of(SourceGrid((4, 6, 5), turned))
    assert extent == (18.0, 15.0, 20.0)
    other = CaseHolding("b", ("jaw",), {}, (1.0, 1.0, 1.0), (20.0, 10.0, 20.0))
    found = Holdings.of([CaseHolding("a", ("jaw",), {}, (3.0, 3.0, 5.0), extent), other], ("jaw",))
    assert found.extent_mm == ((18.0, 20.0), (10.0, 15.0), (20.0, 20.0))

"""What a dataset holds, counted by hand."""

from tomoseg.checks.holdings import CaseHolding, Holdings, StructureHolding

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
    assert (found.lacking, found.spacing_mm) == ({}, None)

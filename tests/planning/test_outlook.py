import pytest

from tomoseg.planning.outlook import outlook


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        (100, "Expect next to nothing. 12 min would do."),
        (2000, "Expect rough masks, and small structures to be missed. 12 min would do."),
        (6000, "Expect some small structures to be missed. 12 min would do."),
        (7050, "That is enough for all but small structures; more time still helps."),
    ],
)
def test_what_may_be_expected(slices, expected):
    assert outlook(slices, 25, 7, 12.0) == f"25 steps see {slices} slices; 7050 are wanted for 7 structures. {expected}"

"""Which masks the picture of a finding shows."""

import pytest

from tomoseg.workflows.check_pictures import _named

ANNOTATED = ("brainstem", "larynx", "liver", "mandible", "spleen")


@pytest.mark.parametrize(
    ("structure", "text", "shown"),
    [
        ("liver", "It lies far from spleen, and beside the larynx.", ["liver", "larynx", "spleen"]),
        (None, "All pairs, such as liver.", ["liver"]),
        (None, "What lies inside of the masks would look more as in the other cases.", list(ANNOTATED[:4])),
        (None, "Slices with a single value between others: 1.", []),
        ("liver", "Look whether the masks belong together.", ["liver"]),
    ],
)
def test_what_a_finding_is_about_is_shown(structure, text, shown):
    assert _named(structure, text, ANNOTATED) == shown

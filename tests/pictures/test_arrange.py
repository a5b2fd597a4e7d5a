"""Places of pictures by hand."""

import pytest

from tomoseg.pictures.arrange import CAPTION, GAP, arrange, bottom_of


def test_rows_fill_the_width():
    places = arrange((1.0, 0.5, 0.5), (1.0, 1.0), 10, 5, 1000)
    assert [place.height for place in places] == pytest.approx([492] * 3 + [496] * 2)  # (1000 - 16) / 2, (1000 - 8) / 2
    assert [place.left for place in places] == pytest.approx([5, 5 + 492 + 8, 5 + 738 + 16, 5, 5 + 496 + 8])
    assert [place.top for place in places] == pytest.approx([36] * 3 + [36 + 492 + GAP + CAPTION] * 2)
    assert {place.room for place in places} == {0}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("strips", [(12.0, 8.0), (2.0, 2.5), (60.0, 60.0)])
def test_strips_lie_beside_the_large_slice_and_both_sides_end_together(count, strips):
    places = arrange((1.4, *strips), (1.4,) * count, 48, 16, 1568)
    large, right = places[0], places[1:]
    assert large.left == 16
    assert large.width / large.height == pytest.approx(1.4)
    assert bottom_of([large]) == pytest.approx(bottom_of(right), abs=1)
    for place, aspect in zip(right, strips, strict=False):
        assert place.width / (place.height - 2 * place.room) == pytest.approx(aspect)
        assert place.height >= 76
        assert place.room >= 20
    for one in right:
        assert large.left + large.width < one.left
        assert one.left + one.width <= 16 + 1568 + 1e-6
        for other in right:
            apart = one.left + one.width <= other.left or other.left + other.width <= one.left
            assert one is other or apart or abs(one.top - other.top) >= min(one.height, other.height) + CAPTION


def test_one_strip_alone_stays_in_the_row():
    assert arrange((1.0, 1.5, 9.0), (1.0,), 0, 0, 1000)[2].room == 0

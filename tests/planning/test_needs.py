import pytest

from tests.planning.made import fingerprint, structure
from tomoseg.planning.needs import (
    channels_of,
    emphasis_power_of,
    grids_mm,
    levels_of,
    neighbours_of,
    pixels_of,
    thin_mm,
    windows_of,
)


class TestGrids:
    def test_never_finer_than_the_scans_and_two_pixels_across_thin_structures(self):
        assert grids_mm(fingerprint()) == [4.0, 5.0]
        assert grids_mm(fingerprint([structure(thickness_mm=(9.0, 8.5, 9.0))])) == [4.0, 4.25]

    def test_fine_scans_begin_with_a_millimetre_and_a_half(self):
        found = grids_mm(fingerprint(spacing_mm=(0.8, 0.8, 1.0)))
        assert found == [1.5, 1.88, 2.25, 3.0, 3.75, 4.5, 5.0]

    def test_thin_structures_have_six_pixels_across(self):
        found = grids_mm(fingerprint([structure(thickness_mm=(6.0, 7.0, 9.0))], spacing_mm=(0.8, 0.8, 1.0)))
        assert (found[0], found[-1]) == (1.0, 3.0)

    def test_scans_too_coarse_for_their_structures_keep_their_pixels(self):
        assert grids_mm(fingerprint([structure(thickness_mm=(3.0, 9.0, 9.0))])) == [4.0]

    def test_without_a_structure_the_scans_pixels(self):
        assert grids_mm(fingerprint([structure(present=0)], spacing_mm=(0.7, 0.9, 5.0))) == [0.9]

    def test_a_tenth_of_the_structures_may_be_thinner(self):
        many = [structure(str(n), (float(n), 100.0, 1.0)) for n in range(1, 12)]
        assert thin_mm(many) == 2.0

    def test_pixels(self):
        assert pixels_of(fingerprint(), 5.0) == (80, 48)


@pytest.mark.parametrize(
    ("edges", "levels"), [((104, 64), 4), ((100, 60), 4), ((256, 256), 5), ((20, 12), 2), ((4, 4), 2)]
)
def test_levels(edges, levels):
    assert levels_of(edges) == levels


def test_channels():
    assert channels_of(12, 3) == (12, 24, 48)


@pytest.mark.parametrize(("apart", "slices"), [(2.5, 5), (5.0, 5), (8.0, 3), (0.8, 7)])
def test_neighbours(apart, slices):
    assert neighbours_of(apart)[0] == slices
    assert f"{apart:g} mm" in neighbours_of(apart)[1]


class TestWindows:
    def test_soft_tissue_has_one(self):
        assert windows_of([structure()])[0] == ((-200.0, 300.0),)

    def test_one_structure_of_bone_has_an_outline(self):
        windows, why = windows_of([structure(), structure("mandible", hu=(300.0, 700.0, 1400.0))])
        assert windows == ((-200.0, 300.0),)
        assert "mandible" in why

    def test_two_that_one_window_shows_alike_have_another(self):
        lungs = [structure(name, hu=(-950.0, -850.0, -700.0)) for name in ("upper", "lower")]
        windows, why = windows_of([structure(), *lungs])
        assert windows == ((-200.0, 300.0), (-1000.0, 1000.0))
        assert why.startswith("2 structures lie mostly below -200 HU")


def test_emphasis_is_less_where_structures_are_many():
    assert emphasis_power_of(7)[0] == 0.5
    assert emphasis_power_of(117)[0] == 0.25

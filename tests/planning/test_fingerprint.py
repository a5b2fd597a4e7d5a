import numpy as np
import pytest

from tomoseg.masks import BoxedMask
from tomoseg.planning.fingerprint import CasePrint, Fingerprint, MaskPrint, case_print, thickness_mm

SPACING = (2.0, 1.0, 5.0)


def scan():
    """10 x 8 x 4 voxels: air around a body of 6 x 6 x 4 with a bar in it."""
    hu = np.full((10, 8, 4), -1000, np.int16)
    hu[2:8, 1:7] = 0
    mask = np.zeros(hu.shape, bool)
    mask[3:5, 2:3, 1:3] = True
    hu[mask] = [10, 20, 30, 40]
    return hu, mask


BOX = ((2, 8), (1, 7), (0, 4))


class TestCase:
    def test_numbers_by_hand(self):
        hu, mask = scan()
        empty = np.zeros(hu.shape, bool)
        found = case_print(hu, SPACING, BOX, [("bar", BoxedMask.of(mask)), ("none", BoxedMask.of(empty))])
        assert found.spacing_mm == SPACING
        assert found.extent_mm == (12.0, 6.0, 20.0)
        assert found.empty == ("none",)
        bar = found.masks["bar"]
        assert bar.volume_ml == pytest.approx(4 * 10 / 1000)
        assert bar.thickness_mm == (4.0, 1.0, 10.0)
        assert bar.share == pytest.approx(4 / (6 * 6 * 4))
        assert bar.hu[1] == 25.0

    def test_hu_are_of_the_body_without_its_lowest_value(self):
        hu, mask = scan()
        found = case_print(hu, SPACING, ((0, 10), (0, 8), (0, 4)), [])
        assert found.hu == pytest.approx((0.0, 0.0, np.percentile(hu[hu > -1000], 99.5)))
        assert mask.any()

    def test_a_scan_of_one_value(self):
        hu = np.zeros((3, 3, 3), np.int16)
        assert case_print(hu, SPACING, ((0, 3),) * 3, []).hu == (0.0, 0.0, 0.0)

    def test_thickness_is_the_mean_length_of_lines(self):
        """A step: of two columns along z one is 1 voxel and one 3 voxels long."""
        mask = np.zeros((2, 1, 3), bool)
        mask[0, 0, 0] = mask[1, 0] = True
        assert thickness_mm(BoxedMask.of(mask), (1.0, 1.0, 1.0)) == pytest.approx((4 / 3, 1.0, 2.0))


class TestDataset:
    def prints(self):
        def one(edge, liver):
            masks = {} if liver is None else {"liver": MaskPrint(liver, (liver, 2.0, 3.0), 0.1, (0.0, liver, 90.0))}
            return CasePrint((edge, edge, 5.0), (100 * edge, 50.0, 60.0), (-900.0, 0.0, 800.0), masks, ("kidney",))

        return [one(1.0, 10.0), one(2.0, 30.0), one(4.0, 20.0), one(3.0, None)]

    def test_medians_over_the_cases_that_hold_it(self):
        found = Fingerprint.of(self.prints(), {"liver": 7, "kidney": 4, "spleen": 0}, 9, 2)
        assert (found.cases, found.validation, found.looked_at) == (9, 2, 4)
        assert found.spacing_mm == (2.5, 2.5, 5.0)
        assert found.spacing_range_mm == ((1.0, 4.0), (1.0, 4.0), (5.0, 5.0))
        assert found.extent_mm == (250.0, 50.0, 60.0)
        liver = found.structures[0]
        assert (liver.annotated, liver.looked_at, liver.present) == (7, 3, 3)
        assert (liver.volume_ml, liver.thickness_mm, liver.hu[1]) == (20.0, (20.0, 2.0, 3.0), 20.0)

    def test_what_is_never_seen(self):
        """Of the kidney all four masks are empty, and the spleen nobody looked for."""
        found = Fingerprint.of(self.prints(), {"liver": 7, "kidney": 4, "spleen": 0}, 9)
        assert found.never_seen == ("kidney", "spleen")
        assert [one.name for one in found.known] == ["liver"]

    def test_what_was_not_read_may_be_there(self):
        """Five cases have a kidney annotated, of which four were read."""
        assert Fingerprint.of(self.prints(), {"kidney": 5}, 9).never_seen == ()

"""The box of a structure, and what reaches its border, by hand."""

import numpy as np

from tomoseg.inference.choices import FoundBox
from tomoseg.inference.nnunet.box import Borders, box_of, notice_of_none
from tomoseg.inference.nnunet.decided import KeptSlice
from tomoseg.labels import LabelSet
from tomoseg.nnunet import Box

LABELS = LabelSet.from_names(["liver", "spleen"])
RULE = Box(finder="total-6mm", structures=("liver", "colon", "brain", "aorta"))
FOUND = FoundBox(RULE, "0")


def slices_of(values):
    return [KeptSlice(k, values[:, :, k], (), LABELS) for k in range(values.shape[2])]


class TestBox:
    def test_margins_count_in_whole_voxels_and_end_at_the_scan(self):
        values = np.zeros((20, 20, 10), np.uint8)
        values[5:8, 18, 4] = 3
        box = box_of((values[:, :, k] for k in range(10)), (20, 20, 10), (1.5, 2.0, 3.0), 5.9)
        assert box == ((2, 16, 3), (11, 20, 6))

    def test_edges_have_32_bits_as_in_a_header(self):
        values = np.zeros((99, 3, 3), np.uint8)
        values[49] = 1
        (low, _, _), (high, _, _) = box_of(iter(values.transpose(2, 0, 1)), (99, 3, 3), (0.8, 1.0, 1.0), 20.0)
        assert (low, high) == (49 - 24, 50 + 24)  # 0.8 is a little more in 32 bits, and 25 voxels are a little too many

    def test_nothing(self):
        assert box_of(iter(np.zeros((4, 5, 5), np.uint8)), (5, 5, 4), (1.0, 1.0, 1.0), 2.0) is None
        told = notice_of_none(RULE)
        assert told.message.startswith("total-6mm found no liver, colon, brain and 1 more, around which")


class TestBorders:
    def borders(self, start, stop, shape=(9, 9, 9), box=FOUND):
        return Borders.of(box, LABELS, (start, stop), shape)

    def looked(self, borders, at, extent=(5, 5, 5)):
        values = np.zeros(extent, np.uint8)
        values[at] = 2
        values[2, 2, 2] = 1
        for k, one in enumerate(slices_of(values)):
            borders.look(one, k, extent[2])
        return [notice.message for notice in borders.notices()]

    def test_each_side_where_the_scan_goes_on(self):
        for at in ((0, 2, 2), (4, 2, 2), (2, 0, 2), (2, 4, 2), (2, 2, 0), (2, 2, 4)):
            (told,) = self.looked(self.borders((2, 2, 2), (7, 7, 7)), at)
            assert told.startswith(
                "spleen reaches the border of the box that total-6mm found around liver, colon, brain"
            )
        assert self.looked(self.borders((2, 2, 2), (7, 7, 7)), (1, 1, 1)) == []

    def test_the_scans_own_end_is_none(self):
        borders = self.borders((0, 2, 0), (5, 9, 9))
        assert self.looked(borders, (0, 2, 2)) == []
        assert self.looked(borders, (2, 4, 2)) == []
        assert self.looked(borders, (2, 2, 0)) == []
        assert len(self.looked(borders, (4, 2, 2))) == 1

    def test_without_a_box_nothing_is_told(self):
        assert self.looked(self.borders((2, 2, 2), (7, 7, 7), box=None), (0, 2, 2)) == []

"""Records of cases that have no files, by hand and as a strategy."""

from hypothesis import strategies as st

from tomoseg.grid import Placement
from tomoseg.preprocessed.format import CaseRecord


def record(name="a", shape=(20, 10, 8), occurrence=None, voxels=None, difficulty=None):
    """A case with structure 0 in slices 2, 3 and 6, structure 1 absent and structure 2 unknown."""
    occurrence = {0: ((2, 4), (6, 7)), 1: ()} if occurrence is None else occurrence
    voxels = {c: 0 for c in occurrence} if voxels is None else voxels
    affine = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    placement = Placement((0, 0, 0), shape, shape)
    return CaseRecord(
        name, name, shape, affine, placement, tuple(occurrence), occurrence, voxels, {}, "", (), difficulty
    )


@st.composite
def slice_sets(draw):
    """Difficulties of up to six slices, and runs of slices for some of four structures."""
    difficulty = draw(st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=6))
    occurrence = {}
    for channel in draw(st.sets(st.integers(0, 3))):
        cuts = sorted(draw(st.sets(st.integers(0, len(difficulty)), max_size=4)))
        occurrence[channel] = tuple(zip(cuts[::2], cuts[1::2], strict=False))
    return tuple(difficulty), occurrence


CASES = st.lists(slice_sets(), min_size=1, max_size=3)


def made(cases):
    """The records of `CASES`; types are checked with random numbers, which hypothesis allows in tests only."""
    return [record(f"c{n}", (4, 4, len(d)), occurrence, difficulty=d) for n, (d, occurrence) in enumerate(cases)]

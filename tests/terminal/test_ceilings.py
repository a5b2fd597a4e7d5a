import pytest

from tomoseg.terminal.ceilings import show_ceilings


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, ""),
        (2, "warning: the grid is too coarse for s1 0.100, s2 0.200; choose a finer one"),
        (7, "for 7 structures, the worst are s1 0.100, s2 0.200, s3 0.300, s4 0.400, s5 0.500; choose a finer one"),
    ],
)
def test_a_grid_too_coarse_names_the_worst_structures_only(count, said, capsys):
    ceilings = {"spleen": 0.95, "absent": None} | {f"s{i}": i / 10 for i in range(count, 0, -1)}
    show_ceilings(ceilings)
    told = " ".join(capsys.readouterr().err.split())
    assert told.endswith(said)
    assert ("coarse" in told) == (count > 0)

"""Engines in the terminal: speed and loss against the first by hand."""

from tests.terminal.shown import rows_in
from tomoseg.terminal.engines import show_ways
from tomoseg.workflows.measure_engines import Way


def test_each_engine_against_the_first_by_hand(capsys):
    reference = Way("torch", "fp32", 31.0, 80.0, {"liver": 0.9, "rib": 0.7, "heart": None}, 0.8)
    small = Way("openvino", "int8", 8.0, 10.0, {"liver": 0.898, "rib": 0.65, "heart": None}, 0.774)
    show_ways([reference, small])
    printed = capsys.readouterr().out
    assert rows_in(printed) == [
        ("engine", "MB", "ms a slice", "times faster", "Dice", "lost", "most lost"),
        ("torch fp32", "31.0", "80.0", "1.00", "0.800", "0.0000", "-"),
        ("openvino int8", "8.0", "10.0", "8.00", "0.774", "0.0260", "rib 0.0500"),
        ("structure", "torch fp32", "openvino int8"),
        ("liver", "0.900", "0.898"),
        ("rib", "0.700", "0.650"),
        ("heart", "-", "-"),
    ]
    assert "openvino int8 is not within the limits" in printed

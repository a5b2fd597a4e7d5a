"""Engines in the terminal: speed and loss against the first by hand."""

from tests.terminal.shown import rows_in
from tomoseg.terminal.engines import show_benchmarks
from tomoseg.workflows.measure_engines import EngineBenchmark


def test_each_engine_against_the_first_by_hand(capsys):
    reference = EngineBenchmark("torch", "fp32", 31.0, 80.0, {"liver": 0.9, "rib": 0.7, "heart": None}, 0.8)
    small = EngineBenchmark("openvino", "int8", 8.0, 10.0, {"liver": 0.898, "rib": 0.65, "heart": None}, 0.774)
    show_benchmarks([reference, small])
    printed = capsys.readouterr().out
    assert rows_in(printed) == [
        ("engine", "MB", "ms per slice", "times faster", "Dice", "change", "largest loss"),
        ("torch fp32", "31.0", "80.0", "1.0", "0.800", "-", "-"),
        ("openvino int8", "8.0", "10.0", "8.0", "0.774", "-0.0260", "rib -0.0500"),
        ("structure", "torch fp32", "openvino int8"),
        ("liver", "0.900", "0.898"),
        ("rib", "0.700", "0.650"),
        ("heart", "-", "-"),
    ]
    assert "openvino int8 is not within the limits" in printed


def test_a_time_has_its_spread_and_what_is_not_stable_is_not_compared(capsys):
    reference = EngineBenchmark("torch", "fp32", 31.0, 80.0, {"liver": 0.9}, 0.9, (79.0, 82.0), 7)
    fast = EngineBenchmark("openvino", "fp32", 31.0, 8.0, {"liver": 0.9}, 0.9, (7.9, 8.2), 7)
    noisy = EngineBenchmark("onnx", "fp32", 31.0, 0.25, {"liver": 0.9}, 0.9, (0.2, 9.0), 7, is_stable=False)
    show_benchmarks([reference, fast, noisy])
    printed = capsys.readouterr().out
    assert [row[2:4] for row in rows_in(printed)[1:4]] == [
        ("80.0 (79.0 to 82.0)", "1.0"),
        ("8.0 (7.9 to 8.2)", "10.0"),
        ("0.2 (0.2 to 9.0)", "-"),
    ]
    assert "medians over the last 5 of 7 rounds" in printed
    assert "onnx fp32 was not stable after 60 s; measure again" in printed
    assert "320" not in printed
    show_benchmarks([noisy, fast])  # nor is anything compared with it
    assert [row[3] for row in rows_in(capsys.readouterr().out)[1:3]] == ["-", "-"]

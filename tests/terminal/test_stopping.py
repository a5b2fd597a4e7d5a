import io
import signal

import pytest

from tomoseg.terminal.console import _Console
from tomoseg.terminal.serving import show_stopped
from tomoseg.terminal.stopping import stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops(number, capsys):
    before = signal.getsignal(number)
    with stop_on_signal() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
    assert capsys.readouterr().err == "Stopping after this step; press Ctrl-C again to stop at once.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_nothing_is_worth_finishing_the_first_signal_stops(number, capsys):
    def waits():
        with stop.at_once():
            signal.raise_signal(number)
            passed.append("waited on")

    passed = []
    with stop_on_signal() as stop:
        with stop.at_once():
            passed.append("nobody asked")
        with pytest.raises(KeyboardInterrupt):
            waits()
        assert stop()
        with pytest.raises(KeyboardInterrupt), stop.at_once():  # it was asked already
            passed.append("waits anew")
    assert passed == ["nobody asked"]
    assert capsys.readouterr().err == ""


def test_after_such_a_block_the_first_signal_asks_again():
    with stop_on_signal() as stop:
        with stop.at_once():
            pass
        signal.raise_signal(signal.SIGINT)
        assert stop()


def test_a_server_s_last_line_covers_the_ctrl_c_of_the_terminal(monkeypatch, capsys):
    written = io.StringIO()
    monkeypatch.setattr("tomoseg.terminal.serving.out", _Console(file=written, force_terminal=True))
    show_stopped(0, False)
    assert written.getvalue() == "\rThe server has stopped; no job is unfinished.\n"

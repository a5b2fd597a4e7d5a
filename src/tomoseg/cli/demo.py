"""`tomoseg demo`."""

from __future__ import annotations

from pathlib import Path

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE, STOPPED
from tomoseg.language.words import say
from tomoseg.terminal import console


def demo(output: Output = Path("tomoseg-demo"), seed: int = 0) -> int:
    """Run the whole workflow on synthetic CTs: generate, preprocess, train, evaluate, predict, draw.

    Args:
        output: Folder to write everything to.
        seed: Random seed; another seed generates other bodies.
    """
    from tomoseg.terminal.stopping import stop_on_signal
    from tomoseg.terminal.training import watch

    with stop_on_signal() as stop, watch(stop, stop.at_once) as listener:
        listener.on_stage("loading PyTorch")
        with stop.at_once():
            from tomoseg.terminal.demo import show_demo
            from tomoseg.workflows.demo import demo as run

        def tell(line: str) -> None:
            console.out.print(line)
            listener.on_stage("at work")

        report = run(output, seed, tell, listener)
    if report is None:
        console.out.print(say("Stopped; the same command continues where it stopped."))
        return STOPPED
    show_demo(report)
    return DONE

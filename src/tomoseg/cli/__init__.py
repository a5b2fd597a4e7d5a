"""The command line: one command, one file, one workflow function.

Only `argparse` is imported before the command is known, and heavy modules only after its arguments are parsed, so that
`--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tomoseg.cli.exits import DONE, NOT_STARTED
from tomoseg.cli.streams import with_streams
from tomoseg.version import __version__

COMMANDS: dict[str, str] = {
    "labels": "List the 117 structures, or those of a dataset or a model.",
    "download": "Download a public dataset, or single cases of it.",
    "phantom": "Generate a dataset of synthetic CTs, either procedurally with all 117 structures or from label maps.",
    "inspect": "Inspect a scan: its values, its geometry, the body, and anything unusual.",
    "check": "Check a dataset before training: what is broken in it, and which cases are unlike the rest.",
    "plan": "Choose settings for a dataset, a training time and a memory limit, and give the reason for each.",
    "preprocess": "Resample a dataset to the network's grid, once, so that training is fast.",
    "preview": "Draw 16 augmented training slices as the network sees them, and how each was changed.",
    "train": "Train a network, or continue the run in the output folder.",
    "evaluate": "Score a model on a preprocessed dataset, or masks against reference masks.",
    "predict": "Segment one scan or many.",
    "status": "Show the progress of the workers that share a results folder (predict --join, --on slurm).",
    "view": "View a scan and its masks in the browser and correct them, or watch a training run.",
    "tune": "Choose the thresholds, smoothing and post-processing that predict then uses with a model.",
    "fuse": "Combine models trained on different views (axial, coronal, sagittal) into one model.",
    "export": "Export a model to OpenVINO or ONNX, and measure speed, size and Dice of each engine and precision.",
    "import": "Convert a model that was trained with nnU-Net v2 to a tomoseg model.",
    "fetch": "Download a published model, such as those of TotalSegmentator, and convert it to a tomoseg model.",
    "models": "List the available models, or describe one model or training run.",
    "demo": "Run the whole workflow on synthetic CTs: generate, preprocess, train, evaluate, predict, draw.",
    "serve": "Run a server that segments scans sent over HTTP, with pages for a browser.",
}
"""Commands with the first sentence of their help; `cli/NAME.py` has the function of that name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: Arguments after the program's name; if omitted, those of the process.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    return with_streams(lambda: _main(given, is_process=argv is None), ends_process=argv is None)


def _main(given: Sequence[str], *, is_process: bool) -> int:
    if given and given[0] in COMMANDS:
        if is_process:
            from tomoseg.cli.libraries import silence_libraries
            from tomoseg.limits import refuse_hopeless_threads

            silence_libraries()
            refuse_hopeless_threads()
        try:
            from tomoseg.cli.running import run
        except Exception as error:
            return _not_loaded(error)
        return run(given[0], given[1:])
    return _without_command(given)


def _not_loaded(error: Exception) -> int:
    """Report that memory or files ran out before the command could run, and return the exit status.

    Raises:
        Exception: Any other error.
    """
    from tomoseg.limits import refusal

    told = refusal(error)
    if told is None:
        raise error
    sys.stderr.write(f"error: {told}\n")
    return NOT_STARTED


def _without_command(given: Sequence[str]) -> int:
    """Print the help or the version, or what is wrong, and return the exit status."""
    first = given[0] if given else ""
    if first in {"-h", "--help"}:
        sys.stdout.write(_parser().format_help())
        return DONE
    if first == "--version":
        sys.stdout.write(f"tomoseg {__version__}\n")
        return DONE
    from tomoseg.cli.refused import without_command
    from tomoseg.cli.running import refuse

    return refuse(without_command(first, tuple(COMMANDS)), given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tomoseg",
        description="Multi-label segmentation of CT: train from labelled scans, predict on a laptop.",
        epilog="`tomoseg COMMAND --help` lists the arguments of a command.",
        usage="tomoseg [-h] [--version] COMMAND ...",
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=16),
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser

"""The command line: one command, one file, one workflow function.

Nothing heavier than `argparse` is loaded before it is known which command runs, and a command loads what computes only
once its arguments are read, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from tomoseg.cli.streams import with_streams
from tomoseg.version import __version__

COMMANDS: dict[str, str] = {
    "labels": "Print the 117 structures, or those of a dataset or a model.",
    "download": "Fetch a public dataset from its server, or single cases of it.",
    "phantom": "Make a dataset of procedural CTs with all 117 structures, or of CTs made of label maps.",
    "inspect": "Look at a scan before anything is made of it: values, geometry, the body, what is odd.",
    "check": "Look at a dataset before it is learned: what is broken, and what is unlike the rest.",
    "plan": "Choose settings for a dataset, each with its reason, from what it is, the minutes and the memory.",
    "preprocess": "Put a dataset on the network's grid, written once for fast training.",
    "preview": "Draw 16 training slices as the network will be shown them, and what was done to each.",
    "train": "Train a network, or go on with the run that is in the output folder.",
    "evaluate": "Score whole volumes: a model on a preprocessed dataset, or masks against masks.",
    "predict": "Segment a scan or many.",
    "status": "Tell how far the workers are that share a folder of results (predict --join, --on slurm).",
    "view": "Look at a scan and its masks in the browser, and correct them; or watch a training run.",
    "tune": "Find out which thresholds, smoothing and post-processing help a model; predict then uses them.",
    "fuse": "Make one model of several that look at the body from several sides.",
    "export": "Write a model in the format of another runtime, and measure what each engine and precision costs.",
    "import": "Make a model of ours of one that nnU-Net v2 trained.",
    "fetch": "Fetch a published model, such as those of TotalSegmentator, and make it a model of ours.",
    "models": "List the models that come with the package, or print what is known of one, or of a run.",
    "demo": "Show the whole way on procedural CTs: make, preprocess, train, evaluate, predict, draw.",
    "serve": "Take scans over HTTP, segment them one after the other, and give results back; with pages for a browser.",
}
"""Each command, with the first sentence of its help; `cli/NAME.py` has the function of that name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status.

    Args:
        argv: Arguments after the program's name; the process's own if omitted.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    return with_streams(lambda: _main(given, is_process=argv is None))


def _main(given: Sequence[str], *, is_process: bool) -> int:
    if given and given[0] in COMMANDS:
        if is_process:
            from tomoseg.cli.libraries import silence_libraries

            silence_libraries()
        from tomoseg.cli.running import run

        return run(given[0], given[1:])
    _parse_no_command(given)


def _parse_no_command(given: Sequence[str]) -> NoReturn:
    """Help, the version, or what is wrong with it.

    Raises:
        SystemExit: Always.
    """
    parser = _parser()
    if given and given[0] in {"-h", "--help"}:  # argparse would hide that it cannot be printed
        sys.stdout.write(parser.format_help())
        raise SystemExit(0)
    if given and given[0] == "--version":
        sys.stdout.write(f"tomoseg {__version__}\n")
        raise SystemExit(0)
    if given and given[0].startswith("-"):
        parser.parse_args(given[:1])
    if given and not given[0].startswith("-"):
        from tomoseg.cli.others import COMMANDS as OF_OTHERS
        from tomoseg.errors import unknown_name_message

        ours = OF_OTHERS.get(given[0].lower())
        if ours is not None:
            parser.error(f"expected one of our commands, got {given[0]!r}; `tomoseg {ours} --help` says how it is done")
        parser.error(unknown_name_message(given[0], tuple(COMMANDS)))
    parser.error("expected a command, got none; `tomoseg --help` lists them")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tomoseg",
        description="Multi-label segmentation of CT: train from labelled scans, predict on a laptop.",
        epilog="`tomoseg COMMAND --help` says what a command takes.",
        usage="tomoseg [-h] [--version] COMMAND ...",
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=16),
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser

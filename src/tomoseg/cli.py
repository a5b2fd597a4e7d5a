"""The command line: one command, one workflow function.

Exit status: 0 all done; 1 some cases failed and the rest are done; 2 nothing could start; 130 stopped, to be resumed.
Heavy modules are imported by the command that needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import ByteSize
from tyro.conf import Positional, arg
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from tomoseg.config import PREPROCESS_PRESETS, TRAIN_PRESETS, PreprocessConfig, PresetName, TrainConfig, load_config
from tomoseg.datasets.download.sources import DatasetName
from tomoseg.errors import ConfigError, TomosegError
from tomoseg.options import (
    ALL_MASKS,
    AS_DEFINED,
    AS_IN_TRAINING,
    AUTO,
    Compute,
    EvaluateOptions,
    MemorySize,
    PredictOptions,
)
from tomoseg.terminal import console

Output = Annotated[Path, arg(aliases=("-o",), metavar="PATH")]
Models = Annotated[tuple[Path, ...], arg(aliases=("-m",), metavar="MODEL [MODEL ...]")]


DONE, SOME_FAILED, NOT_STARTED, STOPPED = 0, 1, 2, 130


def labels(dataset: Positional[Path | None] = None) -> int:
    """Print the 117 structures, or those of a dataset.

    Args:
        dataset: A dataset or a preprocessed dataset; nothing prints the 117.
    """
    from tomoseg.workflows.labels import labels_of

    found = labels_of(dataset)
    rows = [(s.name, s.id, s.group, s.snomed, "#" + bytes(s.colour).hex()) for s in found]
    console.table(f"{len(found)} structures", ("structure", "id", "group", "SNOMED CT", "colour"), rows)
    return DONE


def download(
    dataset: Positional[DatasetName | None] = None,
    *,
    output: Output,
    cases: tuple[str, ...] = (),
    url: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    keep_archive: bool = False,
    allow_http: bool = False,
) -> int:
    """Fetch a public dataset from its server, or single cases of it; the same command goes on where it was.

    Args:
        dataset: The 117-structure dataset of 1228 cases, or 102 of them.
        output: Folder of the dataset.
        cases: Only these cases, such as s0011 s0058, without the rest of the archive.
        url: Where to fetch it from instead; without a dataset, another archive of cases.
        md5: MD5 sum of another archive, to verify it.
        size: Bytes of another archive.
        keep_archive: Leave the archive in the folder when all is unpacked.
        allow_http: Also speak plain http, which anybody on the way can read and change.
    """
    from tomoseg.datasets.download.http import Web
    from tomoseg.datasets.download.sources import archive_of
    from tomoseg.terminal.download import show_download, watch_download
    from tomoseg.workflows.download import download as run

    archive = archive_of(dataset, url, md5, size)
    web = Web(allow_http=allow_http, on_wait=lambda message: console.warn_all([message]))
    with watch_download() as progress:
        report = run(archive, output, cases, keep_archive=keep_archive, web=web, progress=progress)
    show_download(report, archive, output)
    return DONE


def phantom(
    output: Output, train: int = 8, validation: int = 2, test: int = 2, seed: int = 0, spacing_mm: float = 3.0
) -> int:
    """Make a dataset of procedural CTs with all 117 structures.

    Args:
        output: Folder of the dataset.
        train: Training cases.
        validation: Validation cases.
        test: Test cases.
        seed: Another seed makes other bodies.
        spacing_mm: In-plane voxel edge; slices are 5 mm apart.
    """
    from tomoseg.workflows.phantom import make_dataset

    counts = {"train": train, "validation": validation, "test": test}
    with console.progress_bar() as bar:
        task = bar.add_task("phantoms", total=sum(counts.values()), info="")
        made = make_dataset(output, counts, seed, spacing_mm, lambda name: bar.advance(task))
    console.out.print(f"{made} phantoms in {output}")
    return DONE


def inspect(
    scan: Positional[Path],
    *,
    json: bool = False,
    output: Annotated[Path | None, arg(aliases=("-o",))] = None,
    strict: bool = False,
    series: int | None = None,
    assume_spacing: tuple[float, float, float] | None = None,
) -> int:
    """Look at a scan before anything is made of it: values, geometry, parts of the body, and what is odd.

    Args:
        scan: A NIfTI, NRRD or MetaImage file, or DICOM as a folder, zip archive or file.
        json: Print what was found as JSON instead of a table.
        output: JSON file for what was found.
        strict: End with exit status 1 where there are warnings.
        series: Which of several DICOM series, from 1 as they are listed; nothing is the largest axial one.
        assume_spacing: Voxel edges in mm along the file's axes, for scans that do not say where their voxels lie.
    """
    from tomoseg.terminal.inspection import show_inspection, show_json
    from tomoseg.workflows.inspect import inspect as run
    from tomoseg.workflows.inspect import write_json

    found = run(scan, series, assume_spacing)
    if output is not None:
        write_json(found, output)
    (show_json if json else show_inspection)(found)
    if found.error is not None:
        return NOT_STARTED
    return SOME_FAILED if strict and found.warnings else DONE


def check(dataset: Positional[Path], output: Annotated[Path | None, arg(aliases=("-o",))] = None) -> int:
    """Look at a dataset before it is learned: what is broken, and what is unlike the rest.

    Args:
        dataset: A folder of labelled scans; its layout is found by looking.
        output: Folder for check.json and check.html.
    """
    from tomoseg.terminal.findings import show_findings
    from tomoseg.workflows.check import check as run

    with console.progress_bar() as bar:
        task = bar.add_task("check", total=None, info="")
        report = run(
            dataset, output, lambda name, done, total: bar.update(task, completed=done, total=total, info=name)
        )
    show_findings(report)
    if output is not None:
        console.out.print(f"All on a page in {output / 'check.html'}")
    return SOME_FAILED if report.errors else DONE


def preprocess(
    dataset: Positional[Path],
    output: Output,
    preset: PresetName = "default",
    config: Path | None = None,
    settings: Annotated[PreprocessConfig, arg(name="")] = PREPROCESS_PRESETS["default"],
) -> int:
    """Put a dataset on the network's grid, written once for fast training.

    Args:
        dataset: A folder of labelled scans; its layout is found by looking.
        output: Folder of the preprocessed dataset.
        preset: Settings to start from.
        config: YAML file of settings put over the preset.
        settings: Settings put over both.
    """
    from tomoseg.terminal.ceilings import show_ceilings
    from tomoseg.workflows.preprocess import preprocess as run

    with console.progress_bar() as bar:
        task = bar.add_task("preprocess", total=None, info="")
        report = run(
            dataset,
            output,
            settings,
            lambda total: bar.update(task, total=total),
            lambda done: bar.update(task, advance=1, info=done.name),
        )
    show_ceilings(report.ceilings)
    console.warn_all(report.warnings)
    splits = list(report.splits.values())
    counts = ", ".join(f"{splits.count(split)} {split}" for split in ("train", "validation", "test"))
    console.out.print(f"{len(report.records)} cases ({report.layout}) in {output}: {counts}")
    console.fail(report.failed)
    return SOME_FAILED if report.failed else DONE


def preview(
    preprocessed: Positional[Path],
    output: Output = Path("preview.png"),
    preset: PresetName = "default",
    config: Path | None = None,
    settings: Annotated[TrainConfig, arg(name="")] = TRAIN_PRESETS["default"],
) -> int:
    """Draw 16 training slices as the network will be shown them, with their structures and what was done to each.

    Args:
        preprocessed: A preprocessed dataset.
        output: The PNG file.
        preset: Settings of the training to start from.
        config: YAML file of settings put over the preset.
        settings: Settings put over both.
    """
    from tomoseg.workflows.preview import preview as run

    drawn = run(preprocessed, output, settings)
    console.out.print(f"{drawn} training slices in {output}")
    return DONE


def train(
    preprocessed: Positional[Path],
    output: Output,
    preset: PresetName = "default",
    config: Path | None = None,
    force: bool = False,
    plan: bool = False,
    max_memory: MemorySize | None = None,
    settings: Annotated[TrainConfig, arg(name="")] = TRAIN_PRESETS["default"],
) -> int:
    """Train a network, or go on with the run that is in the output folder.

    Args:
        preprocessed: A preprocessed dataset.
        output: The run folder.
        preset: Settings to start from.
        config: YAML file of settings put over the preset.
        force: Go on with a run that began with other settings.
        plan: Only measure what training takes in memory, and say which batches fit.
        max_memory: With plan, what there is, such as 8GB; nothing takes what is free.
        settings: Settings put over both.

    Raises:
        ConfigError: If max_memory is given without plan.
    """
    from tomoseg.terminal.stopping import stop_on_signal
    from tomoseg.terminal.training import show_plan, watch
    from tomoseg.training.ranks import is_first_process
    from tomoseg.workflows.train import plan_run, train_run

    if plan:
        show_plan(
            plan_run(preprocessed, settings, Compute(max_memory=max_memory).max_memory),
            settings.batch_size * settings.accumulation,
        )
        return DONE
    if max_memory is not None:
        raise ConfigError("expected --plan beside --max-memory, got it alone; run with --plan, then use what it says")
    with stop_on_signal() as stop, watch(stop) as listener:
        outcome = train_run(preprocessed, output, settings, listener, force=force)
    if not is_first_process():
        return DONE if outcome.finished else STOPPED
    if not outcome.finished:
        console.out.print(f"Stopped; the same command goes on where it was. The state is in {output}")
        return STOPPED
    best = "no validation Dice" if outcome.best_dice is None else f"best validation Dice {outcome.best_dice:.4f}"
    console.out.print(f"Trained: {best}; model in {output / 'best'}, the run on a page in {output / 'summary.html'}")
    return DONE


def evaluate(
    predicted: Positional[Path],
    reference: Positional[Path],
    output: Annotated[Path | None, arg(aliases=("-o",))] = None,
    options: Annotated[EvaluateOptions, arg(name="")] = AS_DEFINED,
    compute: Annotated[Compute, arg(name="")] = AS_IN_TRAINING,
) -> int:
    """Score whole volumes, a model on a preprocessed dataset or masks against masks, each on the reference's own grid.

    Args:
        predicted: A model folder or a run folder; or masks, as files or label maps, in a folder of any layout.
        reference: For a model a preprocessed dataset with its structures and grid; for masks others to compare with.
        output: Folder for scores.csv, summary.json, report.html and pictures.
        options: What is scored, how, and what is drawn.
        compute: What computes a model's network, where, and in what.
    """
    from tomoseg.terminal.scores import show_comparison, show_scores
    from tomoseg.workflows.evaluate import evaluate as run

    with console.progress_bar() as bar:
        task = bar.add_task("evaluate", total=None, info="")
        result = run(
            predicted,
            reference,
            options,
            output=output,
            compute=compute,
            on_case=lambda done, total: bar.update(task, completed=done, total=total),
        )
    show_scores(result.summary, f"{result.summary.cases} cases")
    if result.comparison is not None:
        show_comparison(result.comparison, str(options.against))
    console.warn_all(result.warnings)
    if output is not None:
        console.out.print(f"Scores in {output}, all on a page in {output / 'report.html'}")
    console.fail(result.failed)
    return SOME_FAILED if result.failed else DONE


def predict(
    input: Annotated[Path, arg(aliases=("-i",), metavar="CT")],
    output: Output,
    model: Models,
    options: Annotated[PredictOptions, arg(name="")] = ALL_MASKS,
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Segment a scan or many; what is done already is skipped.

    Args:
        input: A NIfTI, NRRD or MetaImage file, DICOM as a folder, zip archive or file, a folder of scans, a pattern in
            quotes, or a .txt file with one path a line.
        output: Folder of the masks; with --ml the label map's file, or a folder.
        model: A model folder, a run folder or a packaged model's name; of several the mean is taken.
        options: Which of the scans are segmented, and what is written.
        compute: What computes the network, where, and in what.
    """
    from tomoseg.terminal.predictions import show_predictions, show_triage
    from tomoseg.workflows.predict import predict as run
    from tomoseg.workflows.prediction_record import ScanDone

    results: list[ScanDone] = []
    try:
        with console.progress_bar() as bar:
            task = bar.add_task("predict", total=None, info="")
            run(
                input,
                output,
                model,
                options,
                compute,
                lambda scan, done, total: bar.update(task, completed=done, total=total, info=scan.name),
                results.append,
            )
    finally:  # what became of each scan is told of an interrupted command too
        show_predictions(results)
        show_triage(results)
        failed = {result.scan.name: result.error for result in results if result.error is not None}
        console.fail(failed)
    return SOME_FAILED if failed else DONE


def export(
    model: Positional[Path],
    to: Literal["openvino", "onnx"] | None = None,
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    calibrate: Path | None = None,
    measure: Path | None = None,
) -> int:
    """Write a model in the format of another runtime, and measure what each engine and precision costs and gives.

    Args:
        model: A model folder or a run folder; exports go into it.
        to: openvino or onnx.
        precision: fp32, bf16 (the fp32 file, computed in bf16) or int8.
        calibrate: A preprocessed dataset whose training slices give int8 its scales.
        measure: A preprocessed dataset; size, time and Dice of every engine and precision are measured on its
            validation split.

    Raises:
        ConfigError: If neither a format nor a dataset to measure on is given.
    """
    from tomoseg.terminal.engines import show_ways
    from tomoseg.workflows.export import export as run
    from tomoseg.workflows.measure_engines import MEAN_LOSS, STRUCTURE_LOSS, measure_engines

    if to is None and measure is None:
        raise ConfigError("expected a format or a dataset to measure on, got neither; add --to or --measure")
    if calibrate is not None and (to is None or precision != "int8"):
        raise ConfigError(
            f"expected --to and --precision int8 beside --calibrate, got {to or 'no --to'} and precision {precision}; "
            "add them, or leave --calibrate off"
        )
    if to is not None:
        made = run(model, to, precision, calibrate)
        console.out.print(f"{made.name} in {model}: {', '.join(made.files)}")
    if measure is None:
        return DONE
    with console.progress_bar() as bar:
        task = bar.add_task("measure", total=None, info="")
        ways = measure_engines(
            model, measure, on_case=lambda way, done, total: bar.update(task, completed=done, total=total, info=way)
        )
    show_ways(ways)
    for way in ways:
        if way.precision == "int8":
            verdict = "is" if way.is_close_to(ways[0]) else "is not"
            console.out.print(
                f"{way.engine} int8 {verdict} within the limits: "
                f"{MEAN_LOSS} lost in the mean, {STRUCTURE_LOSS} in any structure"
            )
    return DONE


def tune(
    model: Positional[Path],
    preprocessed: Positional[Path],
    split: str = "validation",
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Find out which thresholds, smoothing and post-processing help a model; predict then uses them.

    Args:
        model: A model folder or a run folder; what is found goes into it.
        preprocessed: A preprocessed dataset with the model's structures and grid.
        split: The cases that choose.
        compute: What computes the network, where, and in what.
    """
    from tomoseg.terminal.tuning import show_choices
    from tomoseg.workflows.tune import tune as run

    with console.progress_bar() as bar:
        task = bar.add_task("tune", total=None, info="")
        tuned, choices = run(
            model, preprocessed, split, compute, lambda done, total: bar.update(task, completed=done, total=total)
        )
    show_choices(tuned, choices)
    return DONE


def models(name: Positional[str | None] = None) -> int:
    """List the models that come with the package, or print the card of one.

    Args:
        name: Whose card to print; nothing lists all.

    Raises:
        ConfigError: If there is no such model.
    """
    from tomoseg.labels import unknown_name_message
    from tomoseg.workflows.models import models as packaged

    found = {model.name: model for model in packaged()}
    if name is not None:
        if name not in found:
            raise ConfigError(unknown_name_message(name, list(found)))
        console.out.print(found[name].card)
        return DONE
    rows = [
        (m.name, len(m.record.labels), f"{m.megabytes:.1f}", m.record.scores.get("validation_dice"))
        for m in found.values()
    ]
    console.table("Models in the package", ("model", "structures", "MB", "validation Dice"), rows)
    console.out.print("tomoseg models NAME prints what it was made from, how good it is and where it must not be used.")
    return DONE


def demo(output: Output = Path("tomoseg-demo"), seed: int = 0) -> int:
    """Show the whole way on procedural CTs: make, preprocess, train, evaluate, predict, draw.

    Args:
        output: Folder for everything that it makes.
        seed: Another seed makes other bodies.
    """
    from tomoseg.terminal.demo import show_demo
    from tomoseg.terminal.stopping import stop_on_signal
    from tomoseg.terminal.training import watch
    from tomoseg.workflows.demo import demo as run

    with stop_on_signal() as stop, watch(stop) as listener:
        report = run(output, seed, console.out.print, listener)
    if report is None:
        console.out.print("Stopped; the same command goes on where it was.")
        return STOPPED
    show_demo(report)
    return DONE


COMMANDS: dict[str, Callable[..., int]] = {
    "labels": labels,
    "download": download,
    "phantom": phantom,
    "inspect": inspect,
    "check": check,
    "preprocess": preprocess,
    "preview": preview,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "tune": tune,
    "export": export,
    "models": models,
    "demo": demo,
}

PRESETS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "preprocess": (PreprocessConfig, PREPROCESS_PRESETS),
    "preview": (TrainConfig, TRAIN_PRESETS),
    "train": (TrainConfig, TRAIN_PRESETS),
}


VALUES = ConstructorRegistry()
"""How words become values, beside what tyro knows."""


@VALUES.primitive_rule
def _memory_size(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if info.type is not ByteSize:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="SIZE",
        instance_from_str=lambda words: Compute.model_validate({"max_memory": words[0]}).max_memory,
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status.

    Args:
        argv: Arguments after the program's name; nothing takes the process's own.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        return int(
            tyro.extras.subcommand_cli_from_dict(
                _with_settings(given),
                prog="tomoseg",
                description="Multi-label segmentation of CT: train from labelled scans, predict on a laptop.",
                args=given,
                registry=VALUES,
            )
        )
    except TomosegError as error:
        console.error(str(error))
        return NOT_STARTED
    except KeyboardInterrupt:
        console.error("stopped")
        return STOPPED


def _with_settings(argv: Sequence[str]) -> dict[str, Callable[..., int]]:
    """The commands, the one that is called with its preset and file as the flags' defaults."""
    commands = dict(COMMANDS)
    name = argv[0] if argv else ""
    if name in PRESETS:
        kind, presets = PRESETS[name]
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        early.add_argument("--preset", choices=sorted(presets), default="default")
        early.add_argument("--config", type=Path)
        try:
            chosen, _ = early.parse_known_args(argv[1:])
        except argparse.ArgumentError:
            return commands  # tyro says what is wrong with it
        commands[name] = partial(commands[name], settings=load_config(kind, presets[chosen.preset], chosen.config))
    return commands

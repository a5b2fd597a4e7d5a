"""`tomoseg predict`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from tomoseg.cli.arguments import Models, Output
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.errors import ConfigError
from tomoseg.options import ALL_MASKS, AUTO, DEFAULT_MODEL, Compute, PredictOptions


def predict(
    input: Annotated[Path, arg(aliases=("-i",), metavar="CT")],
    output: Output,
    model: Models = (),
    config: Path | None = None,
    server: str | None = None,
    options: Annotated[PredictOptions, arg(name="")] = ALL_MASKS,
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Segment one scan or many.

    Scans that are already done are skipped, and a scan that fails does not stop the others.

    Args:
        input: A NIfTI, NRRD or MetaImage file; DICOM as a folder, ZIP archive or file; a folder that contains
            any of these at any depth; a quoted pattern such as 'scans/*.nii.gz'; or a .txt file with one path
            per line, relative to that file.
        output: Folder to write the masks to; with --ml, the label map file, or a folder.
        model: A model folder, a run folder, or the name of a packaged or fetched model; if omitted, body-117
            with 117 structures of the whole body, or with --server the server's default. Several models with the
            same structures and grid are combined by averaging their logits.
        config: YAML file of the options below; flags override it.
        server: URL of a `tomoseg serve` server that segments instead of this machine, such as
            http://127.0.0.1:8117; its token is read from the environment variable TOMOSEG_TOKEN.
        options: Which scans to segment, and what to write.
        compute: The engine, device and precision that run the network.
    """
    if server is not None:
        return _by_server(server, input, output, [str(one) for one in model], options)
    from tomoseg.terminal.predicting import Predicting
    from tomoseg.terminal.predictions import show_done, show_found, show_predictions
    from tomoseg.terminal.rows import Screen
    from tomoseg.terminal.stopping import terminated_as_interrupted
    from tomoseg.workflows.predict import predict as run
    from tomoseg.workflows.prediction_record import ScanDone
    from tomoseg.workflows.scans import FoundScans

    results: list[ScanDone] = []
    found: list[FoundScans] = []

    try:
        with Screen() as screen, terminated_as_interrupted() if options.join else nullcontext():
            display = Predicting(screen)

            def on_scan(done: ScanDone) -> None:
                results.append(done)
                show_done(done)
                display.on_scan(skipped=done.skipped)

            def on_found(all_of_it: FoundScans) -> None:
                found.append(all_of_it)
                show_found(all_of_it)
                display.on_found(len(all_of_it.scans))

            run(
                input,
                output,
                model or (Path(DEFAULT_MODEL),),
                options,
                compute,
                lambda scan, done, total: display.on_slice(scan.name, done, total),
                on_scan,
                on_found,
            )
    finally:  # also after an interruption: what is to be said of all scans so far
        show_predictions(results)
    left_out = any(one.left_out for one in found)
    return SOME_FAILED if left_out or any(result.error is not None for result in results) else DONE


def _by_server(url: str, input: Path, output: Path, models: Sequence[str], options: PredictOptions) -> int:
    """Segment the scans on a server instead of this machine.

    Raises:
        ConfigError: If several models are named, or another place to process the cases.
    """
    from tomoseg.server.client import Client, Job
    from tomoseg.server.remote import RemoteDone, predict_remotely
    from tomoseg.terminal.predictions import show_found
    from tomoseg.terminal.rows import Screen
    from tomoseg.terminal.serving import Remote, show_received, show_remote
    from tomoseg.workflows.scans import FoundScans, Scan

    if options.on != "here":
        raise ConfigError(
            f"expected --server or --on, got both; the server has its own workers, so leave out --on {options.on}"
        )
    if len(models) > 1:
        raise ConfigError(f"expected one --model with --server, got {len(models)}; name one that the server offers")
    found: list[FoundScans] = []
    results: list[RemoteDone] = []
    try:
        with Screen() as screen, Client(url) as client:
            display = Remote(screen)

            def on_found(all_of_it: FoundScans) -> None:
                found.append(all_of_it)
                show_found(all_of_it)
                display.on_found(len(all_of_it.scans))

            def on_change(scan: Scan, job: Job) -> None:
                display.on_change(scan.name, job)

            model = next(iter(models), None)
            for done in predict_remotely(input, output, client, model, options, display.on_sent, on_found, on_change):
                results.append(done)
                show_received(done.scan.name, done.scan.output, done.error, done.seconds)
                display.on_scan()
    finally:  # also after an interruption: what is to be said of all scans so far
        show_remote([(one.scan.name, one.error, one.warnings) for one in results])
    left_out = any(one.left_out for one in found)
    return SOME_FAILED if left_out or any(one.error is not None for one in results) else DONE

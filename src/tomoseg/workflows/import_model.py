"""`tomoseg import`: a model folder made from an nnU-Net v2 training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tomoseg.config import GridConfig
from tomoseg.errors import ModelError, OutputError
from tomoseg.files.asides import remove_left_over
from tomoseg.files.atomic import whole_folder
from tomoseg.files.outputs import check_folder
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, ModelRecord, save_model, sha256
from tomoseg.models.nnunet.plans import Training, read_json, training_of
from tomoseg.models.nnunet.source import DATASET, PLANS, TrainingFolder, find_training, opened
from tomoseg.models.views import Fusion, save_fusion
from tomoseg.packages import is_installed, require_torch
from tomoseg.version import __version__
from tomoseg.workflows.export import export

CITATIONS = (
    "Isensee, F. et al. (2021). nnU-Net: a self-configuring method for deep learning-based biomedical image "
    "segmentation. Nature Methods 18, 203-211.",
)
"""Citations of every nnU-Net model; those named by the dataset's file are added."""

NOT_STATED = "not stated"

CheckpointName = Literal["final", "best"]

_MOST_LICENCE = 2000


@dataclass(frozen=True)
class Known:
    """Facts about a source that its own files lack.

    Attributes:
        structures: Names and ids of its structures, in channel order; None if its files name them.
        plan: Fields of the plan that its makers run it with.
        provenance: Provenance to record.
        citations: Additional works to cite.
    """

    structures: LabelSet | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    citations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """An imported model.

    Attributes:
        folder: The model folder.
        training: The training as its plans describe it.
        folds: Names of the folds whose networks it has.
        left_out: Folds without such a checkpoint, or without a number if others have one.
        provenance: The recorded provenance.
        exported: Whether it has an OpenVINO export, so that it predicts without PyTorch.
    """

    folder: Path
    training: Training
    folds: tuple[str, ...]
    provenance: dict[str, Any]
    exported: bool
    left_out: tuple[str, ...] = ()


def import_model(
    source: Path,
    output: Path,
    *,
    training: str | None = None,
    folds: Sequence[str] = (),
    checkpoint: CheckpointName = "final",
    licence: str | None = None,
    known: Known = Known(),
    on_step: Callable[[str], None] = lambda step: None,
) -> Imported:
    """Make a model folder from an nnU-Net training; it appears whole or not at all.

    Args:
        source: A training folder, one with several below it, or a ZIP file of either.
        output: The model folder; it must not exist, or be empty.
        training: The end of the training's path, if there are several.
        folds: Names of the folds; if omitted all numbered ones, or else `all`.
        checkpoint: Name of the checkpoint.
        licence: Licence of the weights, as their makers state it; if omitted, what a file beside them or
            `dataset.json` says.
        known: Facts about the source that its own files lack.
        on_step: Called with a line for each step.

    Raises:
        ConfigError: If PyTorch is not installed.
        InputError: If the source is neither a folder nor a ZIP file.
        ModelError: If there is no training or several, a file is damaged or not trusted, or the network is not
            supported.
        OutputError: If the model cannot be written, or already exists.
    """
    require_torch()
    check_folder(output)
    if output.is_dir() and any(output.iterdir()):
        raise OutputError(f"{output}: expected a new or empty folder, got one with files in it; choose another")
    remove_left_over(output)
    with opened(source, output) as root:
        on_step("reading")
        found = find_training(root, source, training, folds, checkpoint)
        models, described = _models_of(found, licence, known)
        on_step("writing")
        with whole_folder(output, replace=True) as aside:
            places = _written(models, aside)
            exported = is_installed("openvino")
            for place in places if exported else ():
                on_step("exporting")
                export(place, "openvino")
    provenance = models[0].record.provenance
    return Imported(output, described, tuple(found.checkpoints), provenance, exported, found.left_out)


def _models_of(found: TrainingFolder, licence: str | None, known: Known) -> tuple[list[Model], Training]:
    """Return the model of each fold, and their training.

    Raises:
        ModelError: If they are not of one training, or a file cannot be read.
    """
    from tomoseg.models.nnunet.checkpoint import Checkpoint, model_of, network_of, read_checkpoint

    plans, dataset = read_json(found.folder / PLANS), read_json(found.folder / DATASET)
    read: dict[str, Checkpoint] = {fold: read_checkpoint(path) for fold, path in found.checkpoints.items()}
    first = next(iter(read.values()))
    for fold, one in read.items():
        if (one.configuration, one.mirrored) != (first.configuration, first.mirrored):
            raise ModelError(
                f"{found.name}: expected folds of one training, got fold {fold} of configuration "
                f"{one.configuration[:100]}, the first of {first.configuration[:100]}; name folds with --folds"
            )
    described = _as_known(training_of(plans, dataset, first.configuration, found.name), known, found.name)
    _check_mirrored(first.mirrored, described, found.name)
    plan = described.plan.model_copy(update={"mirrored": first.mirrored})
    models = []
    for fold, one in read.items():
        provenance = _provenance(found, fold, first.trainer, described, licence) | {"configuration": one.configuration}
        provenance |= dict(known.provenance)
        provenance["citations"] = [*provenance["citations"], *known.citations]
        record = ModelRecord(
            described.labels, described.network, GridConfig(mode="native", crop="none"), (), provenance, plan=plan
        )
        network = network_of(one, described.network, described.heads, exclusive=plan.decision == "exclusive")
        models.append(model_of(record, network, one.path))
    return models, described


def _as_known(described: Training, known: Known, name: str) -> Training:
    """Return the training with names and plan fields from `known`.

    Raises:
        ModelError: If the number of structures differs from that of the names.
    """
    plan = described.plan.model_copy(update=dict(known.plan))
    if known.structures is None:
        return replace(described, plan=plan)
    if len(known.structures) != len(described.labels):
        raise ModelError(
            f"{name}: expected {len(known.structures)} structures in dataset.json, got "
            f"{len(described.labels)}; it is another model: ask its authors"
        )
    return replace(described, plan=plan, labels=known.structures)


def _check_mirrored(axes: Sequence[int], described: Training, name: str) -> None:
    if any(not 0 <= axis < described.network.dims for axis in axes):
        raise ModelError(
            f"{name}: expected mirrored axes from 0 to {described.network.dims - 1} in the checkpoint, got "
            f"{', '.join(map(str, axes))}; copy it again"
        )


def _provenance(
    found: TrainingFolder, fold: str, trainer: str, described: Training, licence: str | None
) -> dict[str, Any]:
    stated, reference = described.described, described.described.get("reference")
    return {
        "imported_by": f"tomoseg {__version__}",
        "imported_from": found.name,
        "trainer": trainer,
        "fold": fold,
        **{key: stated[key] for key in ("dataset", "plans", "description", "image") if key in stated},
        "licence": licence or _licence_in(found.licence) or stated.get("licence") or NOT_STATED,
        "citations": [*CITATIONS, *([reference] if reference else [])],
        "source_sha256": {
            PLANS: sha256(found.folder / PLANS),
            DATASET: sha256(found.folder / DATASET),
            found.checkpoints[fold].name: sha256(found.checkpoints[fold]),
        },
    }


def _licence_in(path: Path | None) -> str | None:
    if path is None:
        return None
    with path.open("rb") as stream:
        text = stream.read(_MOST_LICENCE)
    return text.decode("utf-8", errors="replace").strip() or None


def _written(models: Sequence[Model], folder: Path) -> list[Path]:
    """Write the networks; return the model folder for one, else a folder per fold, of equal weight."""
    if len(models) == 1:
        save_model(models[0], folder)
        return [folder]
    names = tuple(f"fold_{model.record.provenance['fold']}" for model in models)
    for name, model in zip(names, models, strict=True):
        save_model(model, folder / name)
    save_fusion(Fusion(names, ()), folder)
    return [folder / name for name in names]

"""Model folders: everything that prediction needs, in files that cannot execute code.

MODEL/
  model.json            architecture, labels, grid, windows, provenance, scores, SHA-256 of the weights
  weights.safetensors
  exports.json, ...     written by `tomoseg export` (`exports.py`)

A model of several networks has a folder for each: networks of several views or folds of a run with `views.json`
(`views.py`), networks with different structures with `parts.json` (`parts.py`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from tomoseg.checks.in_distribution import ScanRange
from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError, LabelError, ModelError
from tomoseg.files.atomic import whole_folder
from tomoseg.labels import LabelSet
from tomoseg.models.folds import FOLDS
from tomoseg.models.packaged import model_folder
from tomoseg.network_kinds import NetworkConfig
from tomoseg.networks.images import EngineInput, NetworkInput, NnunetInput
from tomoseg.nnunet import NnunetNetwork, NnunetPlan
from tomoseg.packages import require_torch
from tomoseg.settings import validate_config

FORMAT_VERSION = 1
RECORD, WEIGHTS, VIEWS, PARTS = "model.json", "weights.safetensors", "views.json", "parts.json"


@dataclass(frozen=True)
class ModelRecord:
    """The description of a model: everything but its weights.

    Attributes:
        labels: Its structures, in channel order.
        network: Its architecture.
        grid: The grid that it was trained on; the scan's own for an imported model, whose grid is part of its plan.
        windows_hu: HU windows, one per input channel; empty for an imported model.
        provenance: Where it comes from: version of tomoseg, seed, training cases, minutes.
        scores: Its validation scores.
        trained_on: Range of its training scans; None in records that were written before this was recorded.
        plan: Preprocessing and meaning of the logits of an imported nnU-Net model; None for other models.
    """

    labels: LabelSet
    network: NetworkConfig | NnunetNetwork
    grid: GridConfig
    windows_hu: tuple[tuple[float, float], ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    trained_on: ScanRange | None = None
    plan: NnunetPlan | None = None

    def build(self) -> Any:
        """Build the network with fresh weights: a `Network` of PyTorch.

        Raises:
            ConfigError: If PyTorch, or a package that the network needs, is not installed.
        """
        require_torch()
        if isinstance(self.network, NnunetNetwork):
            from tomoseg.networks.nnunet import NnunetUNet

            return NnunetUNet(len(self.labels), self.network)
        from tomoseg.networks.build import build_network

        return build_network(self.network, self.input_spec.channels, len(self.labels))

    @property
    def input_spec(self) -> EngineInput:
        """The network's input: windows, neighbouring slices, channels, tile size."""
        if isinstance(self.network, NnunetNetwork):
            assert self.plan is not None  # imported networks always have one
            return NnunetInput(self.network, self.plan)
        return NetworkInput(self.windows_hu, self.network)


class Model:
    """A network and its description. Weights are read on first use of `network`; exported models never need them.

    Attributes:
        record: The description of the model.
        sha256: SHA-256 of the weights file; None if the model was not read from one.
        folder: Folder that the model was read from; None if there is none.
        channels: Channels of the folder's model that this model has; None if it has all.
        headless: Whether it returns the features before its last 1x1 convolution instead of logits.

    Args:
        record: The description of the model.
        network: A PyTorch `Network`, or a `partial` that makes it.
        sha256: SHA-256 of the weights file.
        folder: Folder that the model was read from.
        channels: Channels of the folder's model that this model has.
        headless: Whether it returns the features before its last 1x1 convolution instead of logits.

    Example:
        >>> model = load_model("head-neck/axial")
        >>> model.record.grid.spacing_mm, len(model.record.labels)
        (3.5, 7)
    """

    def __init__(
        self,
        record: ModelRecord,
        network: Any,
        sha256: str | None = None,
        folder: Path | None = None,
        channels: tuple[int, ...] | None = None,
        *,
        headless: bool = False,
    ) -> None:
        self.record, self.sha256, self.folder, self.channels = record, sha256, folder, channels
        self.headless = headless
        self._network = network

    @property
    def name(self) -> str:
        """Name of its folder, or of the run for the folder `best` of a run; empty without a folder."""
        if self.folder is None:
            return ""
        folder = self.folder.absolute()
        return (folder.parent if folder.name == "best" else folder).name

    @cached_property
    def network(self) -> Any:
        """The PyTorch network with its weights.

        Raises:
            ConfigError: If PyTorch is not installed.
            ModelError: If the weights do not fit the architecture.
        """
        return self._network() if isinstance(self._network, partial) else self._network


def save_model(model: Model, folder: Path, *, half: bool = False) -> None:
    """Write a model folder, completely or not at all; an existing one is replaced.

    Args:
        model: The model to save.
        folder: Folder to write.
        half: Store weights in 16 bits, with a relative error of at most a thousandth.

    Raises:
        OutputError: If it cannot be written.
    """
    from tomoseg.models.weights import weights_of  # imports PyTorch

    record = model.record
    with whole_folder(folder, replace=True) as aside:
        (aside / WEIGHTS).write_bytes(weights_of(model.network, half=half))
        content = {
            "format": FORMAT_VERSION,
            "network": record.network.model_dump(mode="json"),
            "grid": record.grid.model_dump(mode="json"),
            "windows_hu": record.windows_hu,
            "sha256": {WEIGHTS: sha256(aside / WEIGHTS)},
            "provenance": record.provenance,
            "scores": record.scores,
            "trained_on": None if record.trained_on is None else asdict(record.trained_on),
            "labels": record.labels.to_dicts(),
        }
        if record.plan is not None:
            content["plan"] = record.plan.model_dump(mode="json")
        (aside / RECORD).write_text(json.dumps(content, indent=1), encoding="utf-8")


def model_in(given: Path) -> Path:
    """Return the folder of a model: the given one, `best` in a run folder, or that of a packaged or fetched model.

    Args:
        given: A model folder, a run folder or a model's name. Whether it contains a model is not checked.

    Raises:
        ModelError: If there is neither such a folder nor such a model.
    """
    folder = model_folder(given)
    return folder / "best" if not (folder / RECORD).exists() and (folder / "best" / RECORD).exists() else folder


def is_model(given: Path) -> bool:
    """Return True if a path is a model folder or a run folder, or the name of a packaged or fetched model."""
    try:
        folder = model_in(given)
        return any((folder / record).is_file() for record in (RECORD, VIEWS, PARTS))
    except ModelError:
        return False


def load_model(folder: Path | str) -> Model:
    """Read a model folder and check its weights against their SHA-256.

    Args:
        folder: A model folder, a run folder, of which the model `best` is read, or the name of a packaged model.

    Returns:
        The model, ready to predict.

    Raises:
        ModelError: If a file is missing, altered or of another version, or the model has several networks, which
            `open_predictor` takes. Weights that do not fit the architecture raise it when `network` is first used.

    Example:
        >>> load_model("head-neck/axial").record.labels.names[:3]
        ('brainstem', 'esophagus', 'larynx')
    """
    folder = model_in(Path(folder))
    if (folder / VIEWS).is_file() or (folder / PARTS).is_file():
        views = ", ".join(str(path.parent) for path in sorted(folder.rglob(RECORD)))
        raise ModelError(
            f"{folder}: expected a model of one network, got one of several; give the folder of one of them: {views}"
        )
    record, digests = _load_record(folder)
    weights = folder / WEIGHTS
    if not weights.exists():
        raise ModelError(f"{folder}: expected {WEIGHTS} beside {RECORD}, found none; copy the whole model folder")
    found = sha256(weights)
    if found != digests.get(WEIGHTS):
        raise ModelError(
            f"{weights}: expected SHA-256 {digests.get(WEIGHTS)} as {RECORD} says, got {found}; "
            "the file was altered or cut short: copy the model folder again"
        )
    return Model(record, partial(_read_network, record, weights), found, folder)


def _read_network(record: ModelRecord, path: Path) -> Any:
    require_torch()
    from tomoseg.models.weights import fill_network

    return fill_network(record.build(), path)


def restrict_structures(model: Model, names: tuple[str, ...]) -> Model:
    """Return a model that predicts only some of the structures, with a smaller last layer.

    Args:
        model: The complete model.
        names: Names of the structures to keep; if empty, all are kept.

    Raises:
        LabelError: If the model does not have one of them.
    """
    if not names:
        return model
    labels = model.record.labels.subset(names)
    channels = tuple(model.record.labels.channel(s.name) for s in labels)
    record = replace(model.record, labels=labels)
    return Model(record, partial(_narrowed, model, record, channels), model.sha256, model.folder, channels)


def _narrowed(model: Model, record: ModelRecord, channels: tuple[int, ...]) -> Any:
    network = model.network
    from tomoseg.models.weights import narrow_network

    return narrow_network(network, record.build(), channels)


def without_head(model: Model) -> Model:
    """Return a model that gives the input of its last 1x1 convolution; `heads.head_of` makes logits of it.

    Args:
        model: The complete model.
    """
    network = partial(_headless, model)
    return Model(model.record, network, model.sha256, model.folder, model.channels, headless=True)


def _headless(model: Model) -> Any:
    network = model.network
    from tomoseg.networks.network import Headless

    return Headless(network)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_record(folder: Path) -> ModelRecord:
    """Read the description of a model of one network, without its weights; `views.record_of` reads that of any model.

    Args:
        folder: A model folder.

    Raises:
        ModelError: If its record is missing or cannot be read.
    """
    return _load_record(folder)[0]


def weights_digest(folder: Path) -> str | None:
    """Return the SHA-256 of a model's weights as its record states it; raises as `load_record`."""
    return _load_record(folder)[1].get(WEIGHTS)


def _load_record(folder: Path) -> tuple[ModelRecord, dict[str, str]]:
    path = folder / RECORD
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        if (folder / FOLDS).is_file():
            raise ModelError(
                f"{folder}: expected a run whose folds are all trained, got one that was stopped early; run "
                "the same tomoseg train command again to continue, or give one fold's folder"
            ) from None
        raise ModelError(
            f"{folder}: expected a model folder with {RECORD}, found none; give the folder of a model"
        ) from None
    except ValueError as error:
        raise ModelError(f"{path}: expected JSON, got: {error}; copy the model folder again") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: expected a model record, got a {type(data).__name__}; copy the model folder again")
    if data.get("format") != FORMAT_VERSION:
        raise ModelError(
            f"{path}: expected format {FORMAT_VERSION}, got {data.get('format')!r}; use a matching version of tomoseg"
        )
    try:
        record = ModelRecord(
            LabelSet.from_dicts(data["labels"]),
            _network_of(data, path),
            validate_config(GridConfig, data["grid"], str(path)),
            tuple((float(low), float(high)) for low, high in data["windows_hu"]),
            data["provenance"],
            data["scores"],
            None if data.get("trained_on") is None else ScanRange.from_dict(data["trained_on"]),
            None if data.get("plan") is None else validate_config(NnunetPlan, data["plan"], str(path)),
        )
        return record, dict(data["sha256"])
    except (KeyError, TypeError, ValueError, AttributeError, LabelError, ConfigError) as error:
        raise ModelError(f"{path}: expected a model record, got: {error!r}; copy the model folder again") from None


def _network_of(data: dict[str, Any], path: Path) -> NetworkConfig | NnunetNetwork:
    if data.get("plan") is None:
        return validate_config(NetworkConfig, data["network"], str(path))
    return validate_config(NnunetNetwork, data["network"], str(path))


def count_parameters(network: Any) -> int:
    """Count the parameters of a PyTorch network."""
    return sum(p.numel() for p in network.parameters())

"""A model's exports, as engines ask for them."""

from __future__ import annotations

from pathlib import Path

from tomoseg.errors import ConfigError
from tomoseg.models.exports import export_file, find_export
from tomoseg.models.folder import Model
from tomoseg.packages import is_installed


def exported_file(model: Model, engine: str, stored: str) -> Path:
    """The main file of a model's export, its files checked against their SHA-256.

    Args:
        model: Whose export.
        engine: Of which engine.
        stored: The precision that it is stored in.

    Raises:
        ConfigError: If the model has none.
        ModelError: If a file is missing or altered.
    """
    export = find_export(model, engine, stored)
    if export is None or model.folder is None:
        calibration = " --calibrate SCANS" if stored == "int8" else ""
        command = f"tomoseg export {model.folder or 'MODEL'} --to {engine} --precision {stored}{calibration}"
        where = "" if is_installed("torch") else ' where PyTorch is, or here: pip install "tomoseg[train]"'
        raise ConfigError(
            f"expected a model with an {engine} export in {stored}, got one without; run: {command}{where}"
        )
    return export_file(model.folder, export)

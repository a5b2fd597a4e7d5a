"""Access of engines to a model's exports."""

from __future__ import annotations

from pathlib import Path

from tomoseg.errors import ConfigError
from tomoseg.models.exports import export_file, find_export
from tomoseg.models.folder import Model
from tomoseg.packages import is_installed


def exported_file(model: Model, engine: str, stored: str) -> Path:
    """Return the main file of a model's export, after checking its files against their SHA-256.

    Args:
        model: The model.
        engine: Name of the engine.
        stored: Precision of the export.

    Raises:
        ConfigError: If the model has no such export.
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

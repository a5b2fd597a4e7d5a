"""Fetched models in the user's data folder, and the checksums of the archives that they were made from.

models/NAME/      one model folder each
archives/         downloads under way
archives.json     SHA-256 of each archive that a model was made from, kept when the model is removed
"""

from __future__ import annotations

import json
from pathlib import Path

import platformdirs

from tomoseg.errors import ModelError
from tomoseg.files.atomic import write_whole_text


def data_folder() -> Path:
    """Return the user's data folder; it may be missing."""
    return platformdirs.user_data_path("tomoseg")


def models_folder() -> Path:
    """Return the folder of fetched models; it may be missing."""
    return data_folder() / "models"


def archives_folder() -> Path:
    """Return the folder of archives that no model was made of yet; it may be missing."""
    return data_folder() / "archives"


def sums_file() -> Path:
    """Return the path of the file with the archives' checksums; it may be missing."""
    return data_folder() / "archives.json"


def fetched_models() -> dict[str, Path]:
    """Return the folders of fetched models, by name."""
    try:
        found = sorted(models_folder().iterdir())
    except OSError:
        return {}
    return {path.name: path for path in found if path.is_dir() and not path.name.startswith(".")}


def kept_sums() -> dict[str, str]:
    """Read the SHA-256 of each archive that a model was made from, by release and name.

    Raises:
        ModelError: If the file cannot be read: a changed archive could not be told then.
    """
    path = sums_file()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(found) for name, found in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path}: expected the checksums of downloaded archives, got: {error}; repair it, or remove it to "
            "record those of the next downloads"
        ) from None


def keep_sums(found: dict[str, str]) -> None:
    """Add checksums to those in the file.

    Args:
        found: SHA-256 by release and name.

    Raises:
        ModelError: If the file cannot be read.
        OutputError: If it cannot be written.
    """
    write_whole_text(sums_file(), json.dumps(kept_sums() | found, indent=1) + "\n")

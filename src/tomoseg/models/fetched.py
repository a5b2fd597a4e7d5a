"""Models that were fetched, in the user's data folder, and the sums of the archives that they were made from.

models/NAME/      a model folder each
archives/         what is being fetched
archives.json     of each archive that a model was made from its SHA-256: it is kept when the model is removed
"""

from __future__ import annotations

import json
from pathlib import Path

import platformdirs

from tomoseg.errors import ModelError
from tomoseg.files.atomic import write_whole_text


def data_folder() -> Path:
    """The user's data folder; it may be missing."""
    return platformdirs.user_data_path("tomoseg")


def models_folder() -> Path:
    """Where fetched models lie; it may be missing."""
    return data_folder() / "models"


def archives_folder() -> Path:
    """Where archives lie until a model is made of them; it may be missing."""
    return data_folder() / "archives"


def sums_file() -> Path:
    """Where the sums of archives are kept; it may be missing."""
    return data_folder() / "archives.json"


def fetched_models() -> dict[str, Path]:
    """Their folders, by name."""
    try:
        found = sorted(models_folder().iterdir())
    except OSError:
        return {}
    return {path.name: path for path in found if path.is_dir() and not path.name.startswith(".")}


def kept_sums() -> dict[str, str]:
    """The SHA-256 of each archive that a model was made from, by release and name.

    Raises:
        ModelError: If they cannot be read: then nobody knows whether an archive changed.
    """
    path = sums_file()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(found) for name, found in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path}: expected the sums of archives that were fetched, got: {error}; repair it, or remove it to keep "
            "the sums of the next downloads"
        ) from None


def keep_sums(found: dict[str, str]) -> None:
    """Keep sums beside those that are kept.

    Args:
        found: SHA-256 by release and name.

    Raises:
        ModelError: If those that are kept cannot be read.
        OutputError: If they cannot be written.
    """
    write_whole_text(sums_file(), json.dumps(kept_sums() | found, indent=1) + "\n")

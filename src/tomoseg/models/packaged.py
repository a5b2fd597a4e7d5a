"""Models that come with the package and work without a download."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from tomoseg.errors import ModelError
from tomoseg.labels import unknown_name_message

CARD = "CARD.md"
"""A model's card: what it was made from, how good it is, where it must not be used."""


def packaged_models() -> dict[str, Path]:
    """Their folders, by name."""
    root = Path(str(resources.files("tomoseg.data"))) / "models"
    return {path.name: path for path in sorted(root.iterdir()) if (path / CARD).is_file()} if root.is_dir() else {}


def model_folder(given: Path) -> Path:
    """A folder as it is given, or that of a packaged model if there is none and its name is one.

    Args:
        given: A path, or a name such as `head-neck`.

    Raises:
        ModelError: If it is neither; the message names the nearest packaged model.
    """
    known = packaged_models()
    if given.exists() or str(given) not in known:
        if not given.exists() and known and len(given.parts) == 1:
            raise ModelError(
                f"{given}: expected a model folder or the name of a packaged model: {_nearest(given, known)}"
            )
        return given
    return known[str(given)]


def check_is_own(folder: Path) -> None:
    """Refuse to change a packaged model.

    Raises:
        ModelError: If it is one.
    """
    if folder.resolve() in {path.resolve() for path in packaged_models().values()}:
        raise ModelError(f"{folder}: expected a model folder of your own, got a packaged model; copy the folder first")


def _nearest(given: Path, known: dict[str, Path]) -> str:
    return unknown_name_message(str(given), list(known))

"""Models that come with the package and work without a download."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from tomoseg.errors import ModelError
from tomoseg.models.fetched import fetched_models
from tomoseg.models.releases import listed_name, reason_against, releases

CARD = "CARD.md"
"""Name of the model card: training data, accuracy, limits of use."""


def packaged_models() -> dict[str, Path]:
    """Return the folders of the packaged models, by name."""
    root = Path(str(resources.files("tomoseg.data"))) / "models"
    return {path.name: path for path in sorted(root.iterdir()) if (path / CARD).is_file()} if root.is_dir() else {}


def model_folder(given: Path) -> Path:
    """Return a path as it is if it exists, else the folder of the packaged or fetched model of that name.

    Args:
        given: A path, or a name such as `head-neck`, or `body-117/coronal` for one network of several.

    Raises:
        ModelError: If it is a file, or neither; the message suggests the nearest name, or how to fetch the model.
    """
    known = fetched_models() | packaged_models()
    if given.is_file():
        raise ModelError(f"{given}: expected the folder of a model, got a file; give the folder")
    if given.exists():
        return given
    if len(given.parts) == 2 and given.parts[0] in known:  # one network of a model
        return known[given.parts[0]] / given.parts[1]
    if len(given.parts) > 1:
        return given
    if str(given) not in known:
        raise ModelError(
            f"{given}: expected a model folder with model.json or the name of a packaged or fetched model "
            f"({', '.join(known) or 'there are none'}), found neither; {_hint(str(given), tuple(known))}"
        )
    return known[str(given)]


def _hint(given: str, known: Sequence[str]) -> str:
    if (task := listed_name(given, tuple(releases().tasks))) is not None:
        return f"`tomoseg fetch {task}` fetches it, and it is then called {task}"
    if (why := reason_against(given)) is not None:
        return f"{given} of TotalSegmentator {why}"
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else "give the folder of a model"


def check_is_own(folder: Path) -> None:
    """Refuse to change a packaged model.

    Raises:
        ModelError: If it is one, or one of its networks.
    """
    if any(folder.resolve().is_relative_to(path.resolve()) for path in packaged_models().values()):
        raise ModelError(f"{folder}: expected your own model folder, got a packaged model; copy the folder first")

"""A training run on one page: what it reached, its course, each structure, its settings. It needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tomoseg.config import TrainConfig, config_yaml
from tomoseg.files.atomic import whole_file
from tomoseg.labels import LabelSet


def write_run_page(
    history: Sequence[Mapping[str, Any]],
    labels: LabelSet,
    config: TrainConfig,
    facts: Mapping[str, object],
    curves: Path,
    path: Path,
) -> None:
    """Write the page.

    Args:
        history: One record an epoch, as in `metrics.jsonl`.
        labels: The structures that are learned.
        config: The settings.
        facts: What else is to be said of the run, by name.
        curves: A picture of its course; left out if there is none.
        path: The HTML file to write.

    Raises:
        OutputError: If the file cannot be written.
    """
    best = max(
        (record for record in history if record.get("validation_dice") is not None),
        key=lambda record: float(record["validation_dice"]),
        default=None,
    )
    groups: dict[str, list[tuple[str, float | None]]] = {}
    count = len(history)
    headline = f"{count} epoch{'s' * (count > 1)} in {history[-1]['minutes']:.1f} minutes" if history else "no epoch"
    if best is not None:
        for structure in labels:
            groups.setdefault(structure.group, []).append((structure.name, best["dice"][structure.name]))
        headline += f"; best validation Dice {best['validation_dice']:.4f}, after epoch {best['epoch']}"
    template = files("tomoseg.pictures").joinpath("run_page.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(template)
    with whole_file(path) as aside:
        aside.write_text(
            page.render(
                title=f"Training run {path.parent.absolute().name}",
                headline=headline,
                facts=facts,
                curves=base64.b64encode(curves.read_bytes()).decode() if curves.exists() else None,
                groups=groups,
                settings=config_yaml(config),
            ),
            encoding="utf-8",
        )

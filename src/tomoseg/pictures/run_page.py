"""Report of a training run as a self-contained HTML page: best scores, curves, structures, settings."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tomoseg.config import TrainConfig
from tomoseg.files.atomic import write_whole_text
from tomoseg.labels import LabelSet
from tomoseg.language.sentences import figures, sentence
from tomoseg.language.words import all_later, number, say, say_many
from tomoseg.notices import Notice
from tomoseg.pictures.structure_names import readable, readable_group
from tomoseg.settings import Language, config_yaml

all_later("dataset", "structures", "training cases", "validation cases", "voxels of a sample", "parameters")
all_later("curriculum", "processor", "device", "precision", "threads", "processes")


def write_run_page(
    history: Sequence[Mapping[str, Any]],
    labels: LabelSet,
    config: TrainConfig,
    facts: Mapping[str, object],
    curves: Path,
    path: Path,
    noticed: Sequence[Notice] = (),
) -> None:
    """Write the page.

    Args:
        history: One record per epoch, as in `metrics.jsonl`.
        labels: The trained structures.
        config: The settings of the run; their language is that of the page.
        facts: Further facts about the run, by name.
        curves: Picture of the training curves; left out if missing.
        path: The HTML file to write.
        noticed: Notices about the training scans, the most important first.

    Raises:
        OutputError: If the file cannot be written.
    """
    best = max(
        (record for record in history if record.get("validation_dice") is not None),
        key=lambda record: float(record["validation_dice"]),
        default=None,
    )
    groups: dict[str, list[tuple[str, float | None]]] = {}
    lang = config.lang
    if best is not None:
        for structure in labels:
            rows = groups.setdefault(readable_group(structure.group, lang), [])
            rows.append((readable(structure.name, lang), best["dice"][structure.name]))
    template = files("tomoseg.pictures").joinpath("run_page.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(template)
    text = page.render(
        lang=lang,
        say=lambda text: say(text, lang),
        number=lambda value, digits: number(value, digits, lang),
        title=say("Training run {name}", lang, name=path.parent.absolute().name),
        headline=_headline(history, best, lang),
        facts={say(name, lang): _fact(value, lang) for name, value in facts.items()},
        curves=base64.b64encode(curves.read_bytes()).decode() if curves.exists() else None,
        groups=groups,
        noticed=noticed,
        sentence=lambda notice: sentence(str(notice), lang),
        settings=config_yaml(config),
    )
    write_whole_text(path, text)


def _headline(history: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None, lang: Language) -> str:
    if not history:
        return say("no epoch", lang)
    minutes = number(history[-1]["minutes"], 1, lang)
    headline = say_many(
        len(history), "1 epoch in {minutes} min", "{count} epochs in {minutes} min", lang, minutes=minutes
    )
    if best is None:
        return headline
    dice = number(best["validation_dice"], 4, lang)
    reached = say("best validation Dice {dice}, after epoch {epoch}", lang, dice=dice, epoch=best["epoch"])
    return f"{headline} · {reached}"


def _fact(value: object, lang: Language) -> object:
    """Return a fact as it is shown: a whole number with its thousands set apart."""
    return figures(f"{value:,}", lang) if type(value) is int else value

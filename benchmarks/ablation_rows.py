"""The rows of `ablation.py`: their changes, base settings and data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from common import PRESET

from tomoseg.config import PREPROCESS_PRESETS, PreprocessConfig, TrainConfig
from tomoseg.settings import merged, validate_config

Values = dict[str, Any]

HELD_OUT = 30 / 170
"""Share of the training patients; those of `validation` only score the final rows."""

FEW = 20
"""Number of training patients of the rows on overfitting."""

PHANTOMS = {"train": 24, "validation": 8}


@dataclass(frozen=True)
class Data:
    """A dataset for training and scoring.

    Attributes:
        source: `openkbp` (its training patients), `few` (20 of them), `whole` (and `validation`) or `phantoms`.
        grid: The network's grid.
    """

    source: str
    grid: Values

    def settings(self) -> PreprocessConfig:
        """Return its preprocessing settings."""
        base = PREPROCESS_PRESETS["default"].model_dump()
        return validate_config(
            PreprocessConfig, merged(base, {"grid": self.grid, "validation_share": HELD_OUT}), "benchmarks"
        )


DATA = {
    "native": Data("openkbp", {"mode": "native"}),  # the patients' own voxels, 4 mm in plane, the body only
    "few": Data("few", {"mode": "native"}),
    "whole": Data("whole", {"mode": "native"}),
    "size 64": Data("openkbp", {"mode": "size", "size": [64, 64], "crop": "none"}),
    "size 128": Data("openkbp", {"mode": "size", "size": [128, 128], "crop": "none"}),
    "phantoms": Data("phantoms", {"mode": "spacing", "spacing_mm": 5.0}),
}


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        changes: Settings that override its table's.
        data: Name of its data; empty for its table's.
    """

    changes: Values = field(default_factory=dict)
    data: str = ""


@dataclass(frozen=True)
class Table:
    """Rows that are compared with one another.

    Attributes:
        title: Title of the table.
        rows: Rows by name; the first is the reference of the others.
        base: Settings of all rows, over the preset `default`.
        data: Name of the data.
        slices: Training slices of each row over all epochs.
        minutes: Training minutes, instead of slices.
    """

    title: str
    rows: dict[str, Row]
    base: Values
    data: str = "native"
    slices: int = 24_000
    minutes: float | None = None


def with_repeats(rows: dict[str, Row], *names: str) -> dict[str, Row]:
    """Return the rows, the named ones repeated with another seed: they missed a structure, which may be chance."""
    found = {}
    for name, row in rows.items():
        found[name] = row
        if name in names:
            found[f"{name}, seed 1"] = replace(row, changes=row.changes | {"seed": 1})
    return found


SMALL: Values = {
    "network": {"channels": [12, 24, 48, 96], "slices": 1, "residual": False},
    "loss": {"deep_supervision": 0},
    "batch_size": 16,
    "sampling": {"slices_per_case": 20},
    "augmentation": {"move_probability": 1.0, "exchange_sides": 0.0},
    "validate_every": 1000,
    "workers": 0,
}
"""A narrow network, whose plain curve is flat after 24 000 slices. Validated at the end only. All slices are moved and
no sides exchanged, as in the preset when the first rows were made; it moves a third now, for what the rows said."""

COMBINED: Values = {"network": {"slices": 5, "residual": True}, "loss": {"deep_supervision": 2}}
"""The beneficial changes of the network, combined."""

THIRD: Values = {"augmentation": {"move_probability": 0.33}}
UNMOVED: Values = {"augmentation": {"move_probability": 0.0}}
BLOCKS: Values = {"network": {"dims": 3, "tile": [48, 64, 16]}, "batch_size": 2, "sampling": {"slices_per_case": 2}}

MUON: Values = {"optimizer": {"kind": "muon"}}

PLAIN = "2D U-Net"
SEEDS = {
    **{f"{PLAIN}, seed {seed}" if seed else PLAIN: Row({"seed": seed}) for seed in range(5)},
    f"{PLAIN}, again": Row(),
    f"{PLAIN}, seed 1, again": Row({"seed": 1}),
}
"""Repetitions that differ by chance: seeds, and the same seed on another processor, which rounds differently."""

NETWORKS = Table(
    "Networks",
    {
        **SEEDS,
        "2.5D, 3 slices": Row({"network": {"slices": 3}}),
        "2.5D, 5 slices": Row({"network": {"slices": 5}}),
        "2.5D, 7 slices": Row({"network": {"slices": 7}}),
        "3D": Row(BLOCKS),
        "attention": Row({"network": {"attention": True}}),
        "residual": Row({"network": {"residual": True}}),
        "deep supervision": Row({"loss": {"deep_supervision": 2}}),
        "2.5D, residual, deep supervision": Row(COMBINED),
        "the same, slices not moved": Row(merged(COMBINED, UNMOVED)),
        "the same, a third of slices moved": Row(merged(COMBINED, THIRD)),
        "Swin UNETR": Row({"network": {"kind": "swin_unetr", "channels": [12, 12]}}),
    },
    SMALL,
)

LOSSES = Table(
    "Losses, on the best network",
    with_repeats(
        {
            "the same, slices not moved": Row(),
            "loss bce": Row({"loss": {"kind": "bce"}}),
            "loss dice": Row({"loss": {"kind": "dice"}}),
            "loss focal": Row({"loss": {"kind": "focal"}}),
            "loss tversky": Row({"loss": {"kind": "tversky"}}),
            "no emphasis": Row({"loss": {"emphasis_power": 0.0}}),
        },
        "loss dice",
        "loss tversky",
        "no emphasis",
    ),
    merged(SMALL, merged(COMBINED, UNMOVED)),
)

GUIDE = Table(
    "The guide's own decisions",
    with_repeats(
        {
            PLAIN: Row(),
            "stacked windows": Row({"windows_hu": [[-1000, 0], [-200, 300], [200, 1500]]}),
            "wide window": Row({"windows_hu": [[-1000, 1500]]}),
            "slices of 64 x 64": Row(data="size 64"),
            "slices of 128 x 128": Row(data="size 128"),
            "three levels": Row({"network": {"channels": [12, 24, 48]}}),
            "five levels": Row({"network": {"channels": [12, 24, 48, 96, 192]}}),
            "half as wide": Row({"network": {"channels": [6, 12, 24, 48]}}),
            "twice as wide": Row({"network": {"channels": [24, 48, 96, 192]}}),
            "batch 2": Row({"batch_size": 2}),
            "batch 8": Row({"batch_size": 8}),
            "batch 32": Row({"batch_size": 32}),
            "group normalisation": Row({"network": {"channels": [16, 24, 48, 96], "normalisation": "group"}}),
            "adam": Row({"optimizer": {"kind": "adam", "weight_decay": 1e-5}}),
            "sgd": Row({"optimizer": {"kind": "sgd", "learning_rate": 0.05, "weight_decay": 1e-4}}),
            "plateau": Row({"schedule": {"kind": "plateau"}, "validate_every": 1}),
            "uniform sampling": Row({"sampling": {"structure_share": 0.0}}),
        },
        "five levels",
        "batch 8",
        "uniform sampling",
    ),
    SMALL,
)

STRATEGIES = Table(
    "Strategies",
    with_repeats(
        {
            PLAIN: Row(),
            "running mean of weights": Row({"ema_decay": 0.995}),
            "rare sampling": Row({"sampling": {"rare_power": 0.5}}),
            "curriculum": Row({"curriculum": {"enabled": True}}),
            "adversarial fgsm": Row({"adversarial": {"kind": "fgsm"}}),
            "adversarial vat": Row({"adversarial": {"kind": "vat"}}),
            "discriminator": Row({"adversarial": {"kind": "discriminator"}}),
            **{f"muon{f', seed {seed}' if seed else ''}": Row(MUON | {"seed": seed}) for seed in range(3)},
            "a third of slices moved": Row(THIRD),
            "no spatial augmentation": Row(UNMOVED),
            "no HU augmentation": Row({"augmentation": {"hu_scale": 0, "hu_shift": 0, "noise_hu": 0}}),
            "no augmentation": Row({"augmentation": {"enabled": False}}),
        },
        "adversarial fgsm",
        "discriminator",
    ),
    SMALL,
)

EVERY: Values = {
    "elastic_pixels": 1.0,
    "gamma": 0.3,
    "blur_pixels": 1.0,
    "low_resolution": 0.5,
    "cut": 0.3,
    "move_probability": 0.5,
}


def _without(**groups: float) -> Row:
    return Row({"augmentation": groups})


def _with_seeds(name: str, **groups: float) -> dict[str, Row]:
    """Return rows with three seeds of a change, or of the plain row."""
    names = [name, f"{name}, seed 1", f"{name}, seed 2"]
    return {each: Row({"seed": seed, "augmentation": groups}) for seed, each in enumerate(names)}


REGULARISERS = Table(
    f"Against overfitting: {FEW} patients, every group of augmentation on",
    {
        **_with_seeds("few"),
        "few, again": Row(),
        "few, no augmentation": Row({"augmentation": {"enabled": False}}),
        "few, no spatial": _without(move_probability=0),
        "few, no elastic": _without(elastic_pixels=0),
        "few, no elastic, again": _without(elastic_pixels=0),
        "few, no HU scale and shift": _without(hu_scale=0, hu_shift=0),
        **_with_seeds("few, no noise", noise_hu=0),
        **_with_seeds("few, no blur", blur_pixels=0),
        "few, no noise, no blur": _without(noise_hu=0, blur_pixels=0),
        "few, no low resolution": _without(low_resolution=0),
        "few, no cut": _without(cut=0),
        "few, no gamma": _without(gamma=0),
        "few, dropout 0.1": Row({"network": {"dropout": 0.1}}),
        "few, dropout 0.1, seed 1": Row({"seed": 1, "network": {"dropout": 0.1}}),
        "few, weight decay 0.1": Row({"optimizer": {"weight_decay": 0.1}}),
        "few, weight decay 0.1, seed 1": Row({"seed": 1, "optimizer": {"weight_decay": 0.1}}),
        "few, weight decay 0": Row({"optimizer": {"weight_decay": 0}}),
    },
    merged(SMALL, {"augmentation": EVERY, "schedule": {"kind": "constant"}, "validate_every": 10}),
    data="few",
    slices=24_000,
)

ON_PHANTOMS = Table(
    "Phantoms, where a slice does not show which rib or vertebra it cuts",
    {
        "phantoms 2D": Row(),
        "phantoms 2.5D, 5 slices": Row({"network": {"slices": 5}}),
        "phantoms residual, deep supervision": Row({"network": {"residual": True}, "loss": {"deep_supervision": 2}}),
        "phantoms 2.5D, residual, deep supervision": Row(COMBINED),
        "phantoms 2.5D, residual, deep supervision, muon": Row(merged(COMBINED, MUON)),
        "phantoms 3D": Row(
            {"network": {"dims": 3, "tile": [64, 64, 16]}, "batch_size": 2, "sampling": {"slices_per_case": 4}}
        ),
    },
    merged(
        SMALL,
        {
            "network": {"channels": [16, 32, 64, 128]},
            "loss": {"emphasis_power": 0.25},
            "batch_size": 4,
            "sampling": {"slices_per_case": 50},
        },
    ),
    data="phantoms",
    slices=12_000,
)

EXCHANGED: Values = {"augmentation": {"exchange_sides": 0.5}}

SIDES = Table(
    "Left and right exchanged in training",
    {
        f"{of}sides {name}{f', seed {seed}' if seed else ''}": Row(merged(changes, {"seed": seed}), data)
        for of, data in (("", ""), (f"{FEW} patients, ", "few"))
        for name, changes in (("kept", {}), ("exchanged", EXCHANGED))
        for seed in range(3)
    },
    merged(SMALL, merged(COMBINED, THIRD)),
)

FINAL = Table(
    "At full size: all 170 patients, scored on the 33 of `validation`, 30 minutes of one core",
    {"final": Row(), "final, slices not moved": Row(UNMOVED)},
    {
        "network": {"channels": [16, 32, 64, 128]},
        "batch_size": 16,
        "sampling": {"slices_per_case": 20},
        "validate_every": 1000,
        "workers": 0,
        "augmentation": {"exchange_sides": 0.0},
    },
    data="whole",
    minutes=30,
)

TABLES = (NETWORKS, LOSSES, GUIDE, STRATEGIES, REGULARISERS, ON_PHANTOMS, SIDES, FINAL)


def table_of(row: str) -> Table:
    """Return the first table that contains a row."""
    return next(table for table in TABLES if row in table.rows)


def settings_of(row: str, slices: int | None = None) -> tuple[TrainConfig, Data, str]:
    """Return a row's settings with its budget in steps, its data, and their name.

    Args:
        row: Name of the row.
        slices: Budget that overrides its table's.
    """
    table = table_of(row)
    values = merged(merged(PRESET.model_dump(), table.base), table.rows[row].changes)
    config = validate_config(TrainConfig, values, row)
    name = table.rows[row].data or table.data
    if table.minutes:
        return config.model_copy(update={"minutes": table.minutes}), DATA[name], name
    depth = config.network.tile[2] if config.network.dims == 3 else 1
    steps = max(1, (slices or table.slices) // (config.batch_size * depth))
    return config.model_copy(update={"steps": steps}), DATA[name], name

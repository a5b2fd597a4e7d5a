"""Pictures of predictions of single structures of a case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import AS_TRAINED, on_grid
from tomoseg.masks import structure_mask
from tomoseg.pictures.panel import best_slice, draw_panel
from tomoseg.preprocessed.read import PreprocessedCase
from tomoseg.settings import Language


def draw_panels(
    predictor: Predictor, case: PreprocessedCase, structures: Sequence[str], folder: Path, lang: Language = "en"
) -> list[Path]:
    """Draw the four-panel figure for some structures of a case, each at its largest slice, on the network's grid.

    Args:
        predictor: Predictor of the dataset's structures.
        case: The case to predict.
        structures: Names of structures; those that the case lacks are skipped.
        folder: Output folder.
        lang: Language of the captions.

    Returns:
        Paths of the pictures.
    """
    ct, reference, choices = case.ct(), case.masks(), predictor.choices(AS_TRAINED)
    shown: dict[str, tuple[int, np.ndarray]] = {}
    for name in structures:
        mask = structure_mask(reference, choices.labels.channel(name))
        if mask.any():
            shown[name] = best_slice(mask), mask
    predicted = predictor.grid_slices(on_grid(case), sorted({k for k, _ in shown.values()}), choices)
    drawn = []
    for name, (k, mask) in shown.items():
        path = folder / f"{case.name}_{name}.png"
        found = predicted[k][choices.labels.channel(name)]
        draw_panel(ct[:, :, k], mask[:, :, k], found, name, case.grid_spacing_mm[:2], path, lang=lang)
        drawn.append(path)
    return drawn

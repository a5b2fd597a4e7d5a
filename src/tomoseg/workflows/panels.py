"""Pictures of predictions of single structures of a case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    drawn = []
    for name in structures:
        channel = choices.labels.channel(name)
        mask = structure_mask(reference, channel)
        if not mask.any():
            continue
        k = best_slice(mask)
        predicted = predictor.grid_slices(on_grid(case), [k], choices)[k][channel]
        path = folder / f"{case.name}_{name}.png"
        draw_panel(ct[:, :, k], mask[:, :, k], predicted, name, case.grid_spacing_mm[:2], path, lang=lang)
        drawn.append(path)
    return drawn

"""Scores of structures for tests, with the default metrics in the order of `scores.csv`."""

from tomoseg.evaluation.scores import StructureScore


def structure_score(
    name, dice, iou, reference_ml, predicted_ml, surface_dice=None, hd95_mm=None, surface_distance_mm=None
):
    error = predicted_ml - reference_ml if reference_ml else None
    values = {
        "dice": dice,
        "iou": iou,
        "surface_dice": surface_dice,
        "hd95_mm": hd95_mm,
        "surface_distance_mm": surface_distance_mm,
        "volume_error_ml": error,
        "volume_error_percent": 100 * (predicted_ml / reference_ml - 1) if reference_ml else None,
    }
    return StructureScore(name, reference_ml, predicted_ml, values)

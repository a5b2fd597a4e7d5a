"""What pictures and pages say, in the languages that they can say it in. The English text is its own key."""

from __future__ import annotations

from tomoseg.config import Language

FRENCH: dict[str, str] = {
    # panel.py
    "CT": "TDM",
    "Reference": "Référence",
    "Reference: not annotated": "Référence : non annotée",
    "Prediction": "Prédiction",
    "Overlay": "Superposition",
    "Overlay, enlarged {times}×": "Superposition, agrandie {times}×",
    "no Dice (empty reference)": "pas de Dice (référence vide)",
    "Dice of this slice {dice}": "Dice de cette coupe {dice}",
    "reference {area} cm²": "référence {area} cm²",
    "prediction {area} cm²": "prédiction {area} cm²",
    # history.py
    "Loss": "Perte",
    "Validation Dice": "Dice de validation",
    "Learning rate": "Taux d'apprentissage",
    "Epoch": "Époque",
    "training": "entraînement",
    "validation": "validation",
    # score_page.py
    "Evaluation of {what}": "Évaluation de {what}",
    "cases": "cas",
    "patients": "patients",
    "structures": "structures",
    "structure": "structure",
    "group": "groupe",
    "case": "cas",
    "Dice": "Dice",
    "IoU": "IoU",
    "surface Dice": "Dice de surface",
    "surface Dice at {mm} mm": "Dice de surface à {mm} mm",
    "surface Dice, a tolerance for each structure": "Dice de surface, une tolérance par structure",
    "HD95, mm": "HD95, mm",
    "mean distance, mm": "distance moyenne, mm",
    "volume error, %": "erreur de volume, %",
    "volume error, ml": "erreur de volume, ml",
    "found": "trouvée",
    "missed": "manquée",
    "false alarm": "fausse alarme",
    "false alarms": "fausses alarmes",
    "false positive, ml": "faux positif, ml",
    "Could not be scored": "N'ont pas pu être évalués",
    "To be known": "À savoir",
    "Each structure": "Chaque structure",
    "all": "toutes",
    "cases 0 to 1": "cas, de 0 à 1",
    "The worst": "Les plus mauvais",
    "Pictures of the worst": "Images des plus mauvais",
    "Compared with {what}": "Comparaison avec {what}",
    "difference": "différence",
    "p, corrected": "p, corrigé",
    "Course of the training": "Déroulement de l'entraînement",
    "How to read this": "Comment lire ce rapport",
    "how": (
        "Les moyennes portent d'abord sur les cas, puis sur les structures, pour qu'une structure compte une fois, "
        "quel que soit le nombre de cas qui la montrent. Entre parenthèses : l'intervalle à 95 % obtenu en retirant "
        "les patients au sort avec remise. n est le nombre de cas qui ont un Dice. Une structure absente de la "
        "référence n'a pas de Dice ; ce qui en a été prédit est compté comme fausse alarme, avec son volume. Une "
        "structure manquée a un Dice de 0. La boîte va du premier au troisième quartile, le trait est la médiane, les "
        "moustaches vont au dernier cas à moins d'une fois et demie la boîte, les points sont les autres cas."
    ),
    "compared how": (
        "Sur les {cases} cas communs, nous moins eux : une différence positive du Dice veut dire que nous sommes "
        "meilleurs. p vient du test des rangs signés de Wilcoxon sur les patients ; celui des structures est corrigé "
        "de leur nombre (Holm)."
    ),
    "empties": "Là où un masque est vide, les scores sont ceux de {what}.",
}
ENGLISH: dict[str, str] = {
    "how": (
        "Means are taken over cases first and over structures then, so that a structure counts once however many cases "
        "show it. In brackets: the 95 % interval from drawing patients again and again with replacement. n is how many "
        "cases have a Dice. A structure that the reference lacks has no Dice; what was predicted of it counts as a "
        "false alarm, with its volume. A missed structure has a Dice of 0. The box spans the middle half of the cases, "
        "the line is their median, whiskers reach the last case within one and a half boxes, dots are the other cases."
    ),
    "compared how": (
        "On the {cases} cases that both have, ours less theirs: a Dice above 0 means that ours is better. p is of "
        "Wilcoxon's signed-rank test over patients; that of the structures is corrected for how many they are (Holm)."
    ),
    "empties": "Where a mask is empty, scores are those of {what}.",
}
"""What is too long to be its own key."""


def say(text: str, lang: Language = "en", **values: object) -> str:
    """A text in a language.

    Args:
        text: The English text, or the name of a long one.
        lang: The language.
        values: What the text has braces for.

    Example:
        >>> say("Overlay, enlarged {times}×", "fr", times="2,0")
        'Superposition, agrandie 2,0×'
    """
    return (FRENCH[text] if lang == "fr" else ENGLISH.get(text, text)).format(**values)


def number(value: float | None, digits: int, lang: Language = "en", *, signed: bool = False) -> str:
    """A number as it is written in a language; a dash for none.

    Example:
        >>> number(0.70449, 3, "fr"), number(None, 3), number(-1.5, 1, signed=True)
        ('0,704', '–', '−1.5')
    """
    if value is None:
        return "–"
    text = f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")
    return text.replace(".", ",") if lang == "fr" else text

"""What pictures and pages say, in the languages that they can say it in. The English text is its own key."""

from __future__ import annotations

from tomoseg.settings import Language

FRENCH: dict[str, str] = {
    # canvas.py, legend.py, preview.py, samples.py
    "R": "D",
    "L": "G",
    "A": "A",
    "P": "P",
    "S": "S",
    "I": "I",
    "axial": "axial",
    "coronal": "coronal",
    "sagittal": "sagittal",
    "+{count} more": "+{count} autres",
    "{shape} voxels of {spacing} mm": "{shape} voxels de {spacing} mm",
    "Nothing is labelled in this scan.": "Rien n'est segmenté dans cet examen.",
    "An empty square: found, but in none of these pictures.": (
        "Carré vide : segmentée, mais visible dans aucune de ces images."
    ),
    "+{count} more warnings": "+{count} autres avertissements",
    "Nothing is labelled in these slices.": "Rien n'est annoté dans ces coupes.",
    # panel.py, in the words of the guide
    "Segmentation: {structure}": "Segmentation : {structure}",
    "CT": "CT",
    "Reference": "Vérité terrain",
    "Reference: not annotated": "Vérité terrain : non annotée",
    "Prediction": "Prédiction",
    "Overlay": "Superposition",
    "Overlay, enlarged {times}×": "Superposition, agrandie {times}×",
    "no Dice (empty reference)": "pas de Dice (vérité terrain vide)",
    "Dice of this slice {dice}": "Dice de cette coupe {dice}",
    "reference {area} cm²": "vérité terrain {area} cm²",
    "prediction {area} cm²": "prédiction {area} cm²",
    # history.py, run_page.py
    "Loss": "Perte",
    "Validation Dice": "Dice de validation",
    "Learning rate": "Taux d'apprentissage",
    "Epoch": "Époque",
    "training": "entraînement",
    "validation": "validation",
    "mean": "moyenne",
    "learning rate": "taux d'apprentissage",
    "best {dice} in epoch {epoch}": "meilleur {dice} à l'époque {epoch}",
    "not validated yet": "pas encore validé",
    "Training run {name}": "Entraînement {name}",
    "no epoch": "aucune époque",
    "1 epoch in {minutes} minutes": "1 époque en {minutes} minutes",
    "{count} epochs in {minutes} minutes": "{count} époques en {minutes} minutes",
    "best validation Dice {dice}, after epoch {epoch}": "meilleur Dice de validation {dice}, après l'époque {epoch}",
    "dataset": "données",
    "training cases": "cas d'entraînement",
    "validation cases": "cas de validation",
    "voxels of a sample": "voxels d'un échantillon",
    "parameters": "paramètres",
    "curriculum": "curriculum",
    "processor": "processeur",
    "device": "appareil",
    "precision": "précision",
    "threads": "fils",
    "processes": "processus",
    "Course": "Déroulement",
    "Validation Dice of each structure": "Dice de validation de chaque structure",
    "of the kept model": (
        "Du modèle gardé, sur des volumes entiers. Un tiret : aucun cas de validation n'en a de vérité terrain."
    ),
    "Settings": "Réglages",
    # samples.py, preview.py
    "sides exchanged": "côtés échangés",
    "told {mm} mm off the middle": "donnée à {mm} mm du milieu",
    "cut to a height of {mm} mm": "réduite à une hauteur de {mm} mm",
    "turned {degrees}°": "tournée de {degrees}°",
    "size × {factor}": "taille × {factor}",
    "shifted {pixels} px": "décalée de {pixels} px",
    "bent {pixels} px": "déformée de {pixels} px",
    "contrast × {factor}": "contraste × {factor}",
    "HU {sign} {hu}": "HU {sign} {hu}",
    "noise {hu} HU": "bruit {hu} HU",
    "blurred {pixels} px": "floue de {pixels} px",
    "resolution {share}": "résolution {share}",
    "gamma {gamma}": "gamma {gamma}",
    "disc of {share}": "disque de {share}",
    "rectangle of {across} × {along}": "rectangle de {across} × {along}",
    "as it is": "telle quelle",
    "augmentation is off, ": "sans augmentation, ",
    "{edges} pixels, window {low} to {high} HU": "{edges} pixels, fenêtre de {low} à {high} HU",
    "{edges} voxels, window {low} to {high} HU": "{edges} voxels, fenêtre de {low} à {high} HU",
    "Training slices of {name}": "Coupes d'entraînement de {name}",
    # page_3d.py, page_3d.js
    "Search": "Rechercher",
    "All": "Toutes",
    "None": "Aucune",
    "Alone": "Seule",
    "Cut": "Couper",
    "Front": "De face",
    "Back": "De dos",
    "From the left": "De gauche",
    "From the right": "De droite",
    "From above": "Du dessus",
    "From below": "Du dessous",
    "not found": "non trouvée",
    "not annotated": "non annotée",
    "3D how": (
        "Glisser : tourner. Molette ou deux doigts : zoomer. Majuscule ou bouton droit : déplacer. Les surfaces sont "
        "lissées et simplifiées, pour être regardées, pas mesurées ; les volumes sont ceux des masques."
    ),
    "no 3D": (
        "Ce navigateur ne peut pas afficher cette page : il lui faut WebGL2 et DecompressionStream, que Chrome, Edge, "
        "Firefox et Safari ont depuis 2023."
    ),
    # score_page.py
    "Evaluation of {what} against {reference}": "Évaluation de {what} par rapport à {reference}",
    "voxels of {spacing} mm": "voxels de {spacing} mm",
    "{low} to {high}": "{low} à {high}",
    "1 structure": "1 structure",
    "{count} structures": "{count} structures",
    "1 case": "1 cas",
    "{count} cases": "{count} cas",
    "1 patient": "1 patient",
    "{count} patients": "{count} patients",
    "structure": "structure",
    "case": "cas",
    "{metric} at {mm} mm": "{metric} à {mm} mm",
    "{metric}, a tolerance for each structure": "{metric}, une tolérance par structure",
    "found": "trouvée",
    "false alarms": "fausses alarmes",
    "false positive, ml": "faux positif, ml",
    "Could not be scored": "N'ont pas pu être évalués",
    "To be known": "À savoir",
    "Noticed of the scans": "Remarqué sur les examens",
    "Each structure": "Chaque structure",
    "Structures, the best first": "Structures, de la meilleure à la moins bonne",
    "group": "groupe",
    "rank by median": "rang selon la médiane",
    "rank by success": "rang selon la réussite",
    "median Dice": "Dice médian",
    "Dice ≥ {dice}": "Dice ≥ {dice}",
    "cases by their Dice": "cas selon leur Dice",
    "below {dice}": "moins de {dice}",
    "from {dice}": "à partir de {dice}",
    "Without a Dice, since no case has a reference of them": ("Sans Dice, car aucun cas n'en a de vérité terrain"),
    "ranked how": (
        "Le taux de réussite d'une structure à un seuil est la part de ses cas dont le Dice l'atteint ; un cas où elle "
        "est absente ne compte pas, un cas où elle est manquée est un échec. L'ordre est celui du Dice médian, le rang "
        "selon la réussite celui de la moyenne des taux ; les égalités partagent un rang. La ligne « toutes » est la "
        "moyenne des structures."
    ),
    "all": "toutes",
    "cases 0 to 1": "cas, de 0 à 1",
    "The worst": "Les plus mauvais",
    "The worst cases in 3D": "Les plus mauvais cas en 3D",
    "Pictures of the worst": "Images des plus mauvais",
    "Compared with {what}": "Comparaison avec {what}",
    "pairs": "paires",
    "p of Dice, corrected": "p du Dice, corrigé",
    "Course of the training": "Déroulement de l'entraînement",
    "How to read this": "Comment lire ce rapport",
    "how": (
        "Les moyennes portent d'abord sur les cas, puis sur les structures, pour qu'une structure compte une fois, "
        "quel que soit le nombre de cas qui la montrent. Entre parenthèses : l'intervalle à 95 % obtenu en retirant "
        "les patients au sort avec remise ; moins de cinq patients n'en donnent pas. n est le nombre de cas qui ont "
        "un Dice, et celui d'une autre mesure est écrit à côté d'elle où il diffère. La ligne d'un groupe est la "
        "moyenne de ses structures. L'erreur de volume est le volume prédit moins celui de la vérité terrain. Une "
        "structure absente de la vérité terrain n'a pas de Dice ; ce qui en a été prédit est compté comme fausse "
        "alarme, avec son volume. « Trouvée » : au moins un voxel en commun. Une structure manquée a un Dice de 0. La "
        "boîte va du premier au troisième quartile, le trait est la médiane, les moustaches vont au dernier cas à "
        "moins d'une fois et demie la boîte, les points sont les autres cas. Les images montrent la coupe où le plus "
        "de voxels sont faux : la vérité terrain en rouge, la prédiction en bleu, ce qui leur est commun en violet."
    ),
    "compared how": (
        "{ours} moins {theirs}, sur les {cases} cas communs : une différence positive du Dice est à l'avantage de "
        "{ours}, une différence positive de HD95 à son désavantage. p vient du test des rangs signés de Wilcoxon sur "
        "les patients ; celui des structures est corrigé de leur nombre (Holm). Moins de cinq patients ayant une paire "
        "ne donnent ni intervalle ni p. En gras : p < 0,05."
    ),
    "empties": "Là où un masque est vide, les scores sont ceux de {what}.",
}
ENGLISH: dict[str, str] = {
    "how": (
        "Means are taken over cases first and over structures then, so that a structure counts once however many "
        "cases show it. In brackets: the 95 % interval from drawing patients again and again with replacement; fewer "
        "than five patients give none. n is how many cases have a Dice, and that of another measure is written beside "
        "it where it differs. A group's row is the mean of its structures. The volume error is the predicted volume "
        "less that of the reference. A structure that the reference lacks has no Dice; what was predicted of it "
        "counts as a false alarm, with its volume. Found: at least one voxel in common. A missed structure has a Dice "
        "of 0. The box spans the middle half of the cases, the line is their median, whiskers reach the last case "
        "within one and a half boxes, dots are the other cases. Pictures show the slice in which most voxels are "
        "wrong: the reference in red, the prediction in blue, what they share in purple."
    ),
    "compared how": (
        "{ours} less {theirs}, on the {cases} cases that both have: a difference of Dice above 0 is in favour of "
        "{ours}, one of HD95 against it. p is of Wilcoxon's signed-rank test over patients; that of the structures is "
        "corrected for how many they are (Holm). Fewer than five patients with a pair give neither an interval nor a "
        "p. Bold: p < 0.05."
    ),
    "ranked how": (
        "The success rate of a structure at a threshold is the share of its cases whose Dice reaches it; a case in "
        "which it is absent does not count, one in which it is missed fails. The order is that of the median Dice, the "
        "rank by success that of the mean of the rates; equal structures share a rank. The row of all is the mean over "
        "structures."
    ),
    "3D how": (
        "Drag to turn, wheel or two fingers to zoom, shift or the right button to move. Surfaces are smoothed and "
        "simplified: to be looked at, not to be measured; volumes are those of the masks."
    ),
    "no 3D": (
        "This browser cannot show this page: it needs WebGL2 and DecompressionStream, which Chrome, Edge, Firefox and "
        "Safari have had since 2023."
    ),
    "of the kept model": "Of the kept model, on whole volumes. A dash: no validation case has a reference of it.",
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
    return _pointed(f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−"), lang)


def short(value: float, lang: Language = "en") -> str:
    """A length or the like to three digits.

    Example:
        >>> short(2.7344, "fr"), short(3.0)
        ('2,73', '3')
    """
    return _pointed(f"{value:.3g}", lang)


def percent(share: float, lang: Language = "en") -> str:
    """A share of 1 in whole percent.

    Example:
        >>> percent(0.75), percent(0.75, "fr")
        ('75%', '75 %')
    """
    return f"{100 * share:.0f}{' ' if lang == 'fr' else ''}%"


def _pointed(text: str, lang: Language) -> str:
    return text.replace(".", ",") if lang == "fr" else text

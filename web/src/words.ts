/** What the page says. The English text is its own key. */

export type Language = "en" | "fr";

const FRENCH: Record<string, string> = {
  "Search": "Rechercher",
  "All": "Toutes",
  "None": "Aucune",
  "Alone": "Seule",
  "Structures": "Structures",
  "Soft tissue": "Tissus mous",
  "Lung": "Poumon",
  "Bone": "Os",
  "Brain": "Cerveau",
  "Planes and 3D": "Plans et 3D",
  "Axial": "Axial",
  "Coronal": "Coronal",
  "Sagittal": "Sagittal",
  "3D": "3D",
  "Opacity": "Opacité",
  "Outline": "Contour",
  "Loading": "Chargement",
  "not found": "non trouvée",
  "ml": "ml",
  "HU": "UH",
  "reaches the border of the scan": "touche le bord de l'examen",
  "very few voxels": "très peu de voxels",
  "far from the size of its counterpart": "taille très différente de l'autre côté",
  "corrected, version {version}": "corrigée, version {version}",
  "Warnings": "Avertissements",
  "This browser has no WebGL2: slices are shown, without 3D, outlines and corrections.":
    "Ce navigateur n'a pas WebGL2 : les coupes sont affichées, sans 3D, ni contours, ni corrections.",
  "Scan and masks": "Examen et masques",
  "Difference": "Différence",
  "Mask": "Masque",
  "Reference": "Vérité terrain",
  "both": "les deux",
  "only in the mask": "dans le masque seul",
  "only in the reference": "dans la vérité terrain seule",
  "Dice": "Dice",
  "Cases": "Cas",
  "Previous": "Précédent",
  "Next": "Suivant",
  "Accept": "Accepter",
  "Needs work": "À reprendre",
  "right": "juste",
  "needs work": "à reprendre",
  "Correct": "Corriger",
  "Correcting {structure}": "Correction : {structure}",
  "Brush": "Pinceau",
  "Erase": "Gomme",
  "Fill outlines": "Remplir les contours",
  "Undo": "Annuler",
  "Fill between slices": "Remplir entre les coupes",
  "Save as a new version": "Enregistrer une nouvelle version",
  "Stop correcting": "Arrêter la correction",
  "Who": "Qui",
  "size": "taille",
  "{count} slices were filled.": "{count} coupes ont été remplies.",
  "Saved as version {version}.": "Enregistrée : version {version}.",
  "Choose a structure first.": "Choisissez d'abord une structure.",
  "What was drawn is not saved yet. Leave it?": "La correction n'est pas enregistrée. L'abandonner ?",
  "Help": "Aide",
  "help":
    "1 tissus mous, 2 poumon, 3 os, 4 cerveau · O contour · A toutes, N aucune, S seule · +/− opacité · " +
    "← → cas précédent, suivant · R juste, W à reprendre · E corriger, Ctrl+Z annuler, [ ] taille du pinceau · " +
    "D différence · molette : coupes",
  "Token": "Jeton",
  "Enter": "Entrer",
  "The server showed a token when it was first started. Enter it here.":
    "Le serveur a montré un jeton à son premier démarrage. Entrez-le ici.",
  "Job": "Tâche",
  "All jobs": "Toutes les tâches",
  "Model": "Modèle",
  "State": "État",
  "Choose files": "Choisir des fichiers",
  "Choose a folder": "Choisir un dossier",
  "Drop a scan here, or choose files": "Déposez un examen ici, ou choisissez des fichiers",
  "a DICOM folder or its zip, NIfTI, NRRD or MetaImage; up to {size} GB":
    "un dossier DICOM ou son zip, NIfTI, NRRD ou MetaImage ; jusqu'à {size} Go",
  "It is removed after {hours} hours.": "Il est supprimé après {hours} heures.",
  "It is removed after {days} days.": "Il est supprimé après {days} jours.",
  "{state}: {what}": "{state} : {what}",
  "All {count} structures": "Les {count} structures",
  "{some} of {count} structures": "{some} des {count} structures",
  "Uploading": "Envoi",
  "The server does not answer.": "Le serveur ne répond pas.",
  "received": "reçue",
  "checking": "vérification",
  "queued": "en attente",
  "running": "en cours",
  "done": "terminée",
  "failed": "échouée",
  "cancelled": "annulée",
  "expired": "expirée",
  "load": "chargement du modèle",
  "read": "lecture",
  "segment": "segmentation",
  "write": "écriture",
  "{count} before it": "{count} avant elle",
  "{seconds} s left": "encore {seconds} s",
  "Cancel": "Annuler",
  "Remove": "Supprimer",
  "Look": "Regarder",
  "Download": "Télécharger",
  "Download corrected": "Télécharger la version corrigée",
  "Preparing the download": "Préparation du téléchargement",
  "Saving": "Enregistrement",
  "Sent": "Envoyée",
  "corrected ({count})": "corrigée ({count})",
  "Uploading {count} files": "Envoi de {count} fichiers",
  "There are several series. Choose one:": "Il y a plusieurs séries. Choisissez-en une :",
  "Epoch": "Époque",
  "Pictures": "Images",
  "Picture of": "Image de",
  "Loss": "Perte",
  "training": "entraînement",
  "validation": "validation",
  "mean": "moyenne",
  "Validation Dice": "Dice de validation",
  "Best": "Meilleur",
  "{dice}, epoch {epoch}": "{dice}, époque {epoch}",
  "Learning rate": "Taux d'apprentissage",
  "learning rate": "taux d'apprentissage",
  "Gradient norm": "Norme du gradient",
  "gradient norm": "norme du gradient",
  "Slices a second": "Coupes par seconde",
  "Time left": "Temps restant",
  "Time spent": "Temps écoulé",
  "Fold {number}": "Pli {number}",
  "run waiting": "en attente de la première époque",
  "run running": "en cours",
  "run quiet": "sans nouvelles",
  "run finished": "terminé",
  "No epoch is done yet: its curves come with the first.":
    "Aucune époque n'est encore terminée : les courbes viendront avec la première.",
  "Last epoch: {when}": "Dernière époque : {when}",
  "Nothing has come for long: training may have been stopped. tomoseg train goes on with it.":
    "Rien depuis longtemps : l'entraînement a peut-être été arrêté. tomoseg train le reprend.",
  "Lines of metrics.jsonl that are no epoch: {lines}": "Lignes de metrics.jsonl qui ne sont pas une époque : {lines}",
  "The server says, in English: {text}": "Le serveur dit, en anglais : {text}",
  "The server has ended. This page can be closed.": "Le serveur s'est arrêté. Cette page peut être fermée.",
};

const ENGLISH: Record<string, string> = {
  "run waiting": "before its first epoch",
  "run running": "running",
  "run quiet": "no news",
  "run finished": "finished",
  load: "the model is loaded",
  read: "the scan is read",
  segment: "it is segmented",
  write: "the masks are written",
  help:
    "1 soft tissue, 2 lung, 3 bone, 4 brain · O outline · A all, N none, S alone · +/− opacity · " +
    "← → previous, next case · R right, W needs work · E correct, Ctrl+Z undo, [ ] brush size · D difference · " +
    "wheel: slices",
};

let language: Language = "en";

export function speak(chosen: Language): void {
  language = chosen;
  document.documentElement.lang = chosen;
}

export function spoken(): Language {
  return language;
}

export function say(text: string, values: Record<string, string | number> = {}): string {
  const said = language === "fr" ? (FRENCH[text] ?? text) : (ENGLISH[text] ?? text);
  return said.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/** A number as it is written in the language. */
export function number(value: number, digits: number): string {
  return value.toLocaleString(language === "fr" ? "fr-FR" : "en-GB", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

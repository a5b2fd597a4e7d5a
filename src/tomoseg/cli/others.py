"""Commands and flags of TotalSegmentator and nnU-Net, translated if they have an equivalent, otherwise explained.

They become our own words, or one sentence that says what to use instead; what a command does is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tomoseg.errors import ConfigError
from tomoseg.language.words import part

COMMANDS = {
    "nnunetv2_train": "train",
    "nnunetv2_predict": "predict",
    "nnunetv2_predict_from_modelfolder": "predict",
    "nnunetv2_plan_and_preprocess": "preprocess",
    "nnunetv2_preprocess": "preprocess",
    "nnunetv2_extract_fingerprint": "plan",
    "nnunetv2_plan_experiment": "plan",
    "nnunetv2_evaluate_folder": "evaluate",
    "nnunetv2_find_best_configuration": "evaluate",
    "nnunetv2_determine_postprocessing": "tune",
    "totalsegmentator": "predict",
    "totalseg_download_weights": "fetch",
    "totalseg_import_weights": "import",
    "nnunetv2_install_pretrained_model_from_zip": "import",
    "segment": "predict",
    "verify_dataset_integrity": "check",
}
"""Commands of other programs, in lower case, with our equivalents."""

SAME = {
    "predict": {
        "-ml": "--ml",
        "-s": "--statistics",
        "-rs": "--roi-subset",
        "-ro": "--roi-subset",
        "-device": "--device",
        "--output-format": "--format",
    },
    "train": {
        "--lr": "--optimizer.learning-rate",
        "-lr": "--optimizer.learning-rate",
        "--learning-rate": "--optimizer.learning-rate",
        "--weight-decay": "--optimizer.weight-decay",
        "--num-workers": "--workers",
        "--num-epochs": "--epochs",
        "-device": "--device",
        "-pretrained-weights": "--warm-start",
        "--pretrained-weights": "--warm-start",
    },
    "preprocess": {
        "-np": "--workers",
        "--num-processes": "--workers",
        "--spacing": "--grid.spacing-mm",
        "-overwrite-target-spacing": "--grid.spacing-mm",
    },
}
"""Flags of other programs, spelt with hyphens, with our equivalents."""

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")
"""Configurations of nnU-Net, which follow the number of a dataset."""

ONE_SPEED = (
    "a model has one resolution here; `tomoseg models` lists the models, and `tomoseg fetch` those of "
    "TotalSegmentator at 3 and 6 mm, for -m"
)
BY_ITSELF = "threads are chosen by themselves, or by OMP_NUM_THREADS"
GOES_ON = "the same command goes on where it was, without a flag"
NAMES_MODEL = (
    "-m takes a model folder, a packaged model or one that `tomoseg fetch` lists, and so chooses what is segmented"
)
QUIET = "there is no such switch; a bar is drawn in a terminal only"
NO_FOLDS = (
    "folds have no numbers here: `tomoseg train --folds 5` trains all of them into one run folder, and -m with that "
    "folder predicts with their mean, with RUN/fold-1 by one of them"
)
DATASET_FIRST = "the dataset's folder itself comes first, without a flag"
NO_PLANS = (
    "there are no plans: the grid is chosen by `tomoseg preprocess --grid.spacing-mm`, the network by "
    "`tomoseg train --network.kind` and --network.channels, and --preset names a set of them"
)
NO_TRAINERS = "there are no trainers: each setting has a flag, such as --loss.kind, --optimizer.learning-rate, --epochs"

WHOLE = "use --roi-subset: it is looked for in a box that total-6mm finds, or where that misses it in all of the scan"
SMOOTH = "logits are interpolated to the scan's own voxels unless --resampling is exact; leave it off"
LINEARLY = "--resampling exact resamples scans linearly, as TotalSegmentator 2.18; leave it off"

INSTEAD = {
    "predict": {
        "--fast": ONE_SPEED,
        "--fastest": ONE_SPEED,
        "-ff": ONE_SPEED,
        "-ta": f"{NAMES_MODEL}; --roi-subset keeps some of its structures",
        "--task": f"{NAMES_MODEL}; --roi-subset keeps some of its structures",
        "-rsr": WHOLE,
        "--roi-subset-robust": WHOLE,
        "-rc": "tasks are shown the box that TotalSegmentator shows them, without a flag; leave it off",
        "--robust-crop": "tasks are shown the box that TotalSegmentator shows them, without a flag; leave it off",
        "-ho": SMOOTH,
        "--higher-order-resampling": SMOOTH,
        "-ro": LINEARLY,
        "--resampling-order": LINEARLY,
        "-nr": BY_ITSELF,
        "--nr-thr-resamp": BY_ITSELF,
        "-ns": BY_ITSELF,
        "--nr-thr-saving": BY_ITSELF,
        "-npp": BY_ITSELF,
        "-nps": BY_ITSELF,
        "-fs": "a scan is computed in parts by itself; --max-memory says what it may take",
        "--force-split": "a scan is computed in parts by itself; --max-memory says what it may take",
        "-bs": "the whole scan is looked at, which takes seconds; leave it off",
        "--body-seg": "the whole scan is looked at, which takes seconds; leave it off",
        "-r": "radiomics are not computed; --statistics gives volumes, HU and places of each structure",
        "--radiomics": "radiomics are not computed; --statistics gives volumes, HU and places of each structure",
        "-rmb": "use --postprocess remove_small:0.2, with the millilitres that you want",
        "--remove-small-blobs": "use --postprocess remove_small:0.2, with the millilitres that you want",
        "-ss": "masks are always written; leave it off",
        "--skip-saving": "masks are always written; leave it off",
        "-l": "no licence number is needed; leave it off",
        "--license-number": "no licence number is needed; leave it off",
        "-q": QUIET,
        "--quiet": QUIET,
        "-v": QUIET,
        "--verbose": QUIET,
        "--disable-progress-bar": QUIET,
        "--npz": "use --confidence, which writes probabilities as NIfTI",
        "--save-probabilities": "use --confidence, which writes probabilities as NIfTI",
        "-tr": NAMES_MODEL,
        "-c": NAMES_MODEL,
        "-chk": part(f"{NAMES_MODEL}; RUN stands for RUN/best"),
        "-step-size": "whole slices are seen at once, so there is no step; leave it off",
        "--disable-tta": "nothing is mirrored unless --flips asks for it; leave it off",
        "--continue-prediction": GOES_ON,
        "-num-parts": "use --part 2/8 for the second of eight parts",
        "-part-id": "use --part 2/8 for the second of eight parts",
    },
    "train": {
        "-d": DATASET_FIRST,
        "-tr": NO_TRAINERS,
        "-p": NO_PLANS,
        "-c": NO_PLANS,
        "-f": NO_FOLDS,
        "--fold": NO_FOLDS,
        "--c": GOES_ON,
        "--continue-training": GOES_ON,
        "--resume": GOES_ON,
        "--npz": "`tomoseg predict --confidence` writes probabilities of a model that is trained",
        "--val": "use `tomoseg evaluate RUN PREPROCESSED`",
        "--val-best": "use `tomoseg evaluate RUN PREPROCESSED`, which takes the best",
        "-num-gpus": "start it by `torchrun --nproc-per-node N -m tomoseg train ...`",
        "--num-gpus": "start it by `torchrun --nproc-per-node N -m tomoseg train ...`",
        "--amp": "use --precision, which is half precision by itself where the hardware computes in it",
    },
    "preprocess": {
        "-d": DATASET_FIRST,
        "-c": NO_PLANS,
        "-pl": NO_PLANS,
        "-p": NO_PLANS,
        "--verify-dataset-integrity": "use `tomoseg check DATASET -o REPORT` first",
        "-gpu-memory-target": "`tomoseg train --plan --max-memory 8GB` says which batch size fits",
    },
    "evaluate": {
        "-djfile": "names come with the masks; masks are compared by their names",
        "-pfile": "no plans are needed; leave it off",
        "-d": "the two folders come without a flag: `tomoseg evaluate PREDICTED REFERENCE`",
        "-i": "the two folders come without a flag: `tomoseg evaluate PREDICTED REFERENCE`",
        "-np": BY_ITSELF,
    },
}
"""Flags of other programs without an equivalent, with advice."""

FORMATS = {"nifti": "nifti", "dicom": "dicom-seg", "dicom_seg": "dicom-seg", "dicom_rtstruct": "rtstruct"}
"""Output types of TotalSegmentator, with our formats."""


def translate_options(command: str, argv: Sequence[str], own: Sequence[str]) -> list[str]:
    """Translate the flags of other programs in a command line.

    Args:
        command: Name of the command.
        argv: Its arguments.
        own: Its own flags, which take precedence.

    Raises:
        ConfigError: If a flag has no equivalent; the message says what to use.
    """
    _check_first_words(command, argv)
    left, words = list(argv), []
    while left:
        words += _translated(command, left, own)
    return words


def _check_first_words(command: str, argv: Sequence[str]) -> None:
    """Refuse positional arguments that other programs begin with.

    Raises:
        ConfigError: If there are any; the message says what to begin with.
    """
    if argv and command == "predict" and not argv[0].startswith("-"):
        raise ConfigError(
            f"expected flags, got {argv[0]}; scans, results and model have one each: "
            "`tomoseg predict -i CT -o OUT -m MODEL`"
        )
    if len(argv) > 1 and argv[1] in CONFIGURATIONS:
        raise ConfigError(
            f"expected a folder and flags, got {' '.join(argv[:3])}; there are no numbers of datasets, "
            f"configurations or folds here: `tomoseg {command} --help`"
        )


def _translated(command: str, left: list[str], own: Sequence[str]) -> list[str]:
    """Remove and translate the next word, together with the one after it if its meaning depends on that.

    Raises:
        ConfigError: If it has no equivalent.
    """
    word = left.pop(0)
    flag, sign, value = word.partition("=")
    flag = flag.replace("_", "-")
    if not flag.startswith("-") or flag in own:
        return [word]
    if flag in _BY_VALUE.get(command, {}):
        return _BY_VALUE[command][flag](word, left)
    if flag in INSTEAD.get(command, {}):
        raise ConfigError(f"expected options of tomoseg {command}, got {word}; {INSTEAD[command][flag]}")
    same = SAME.get(command, {})
    return [same[flag] + sign + value] if flag in same else [word]


def _output_type(word: str, left: list[str]) -> list[str]:
    """Translate TotalSegmentator's output type.

    Raises:
        ConfigError: If it is unknown.
    """
    given = word.partition("=")[2] or (left.pop(0) if left else "")
    if given.lower() not in FORMATS:
        raise ConfigError(
            f"expected one of TotalSegmentator's words after {word}, got {given or 'none'}; use --format, which "
            "`tomoseg predict --help` explains"
        )
    return ["--format", FORMATS[given.lower()]]


def _device_or_dataset(word: str, left: list[str]) -> list[str]:
    """Translate `-d`: the device in TotalSegmentator, the dataset in nnU-Net.

    Raises:
        ConfigError: If it is a dataset.
    """
    given = left.pop(0) if left else ""
    if re.fullmatch(r"(auto|gpu|cpu|cuda|mps)(:\d+)?", given) is None:
        raise ConfigError(f"expected options of tomoseg predict, got {word} {given}; {NAMES_MODEL}")
    return ["--device", given]


def _preview_or_plans(word: str, left: list[str]) -> list[str]:
    """Translate `-p`: the preview in TotalSegmentator, the name of plans in nnU-Net.

    Raises:
        ConfigError: If it is the name of plans.
    """
    if left and not left[0].startswith("-"):
        raise ConfigError(f"expected options of tomoseg predict, got {word} {left[0]}; {NAMES_MODEL}")
    return ["--preview"]


def _fast_or_folds(word: str, left: list[str]) -> list[str]:
    """Explain `-f`: the fast model in TotalSegmentator, numbers of folds in nnU-Net.

    Raises:
        ConfigError: Always; neither has an equivalent.
    """
    instead = "-m RUN1 RUN2 averages several models" if left and not left[0].startswith("-") else ONE_SPEED
    raise ConfigError(f"expected options of tomoseg predict, got {word}; {instead}")


_BY_VALUE: dict[str, dict[str, Callable[[str, list[str]], list[str]]]] = {
    "predict": {
        "-ot": _output_type,
        "--output-type": _output_type,
        "-d": _device_or_dataset,
        "-p": _preview_or_plans,
        "-f": _fast_or_folds,
    }
}
"""Flags whose meaning depends on the word after them."""

"""Correlation of a model's self-rating with the true Dice.

    .venv/bin/python benchmarks/triage.py PREPROCESSED MODEL [MODEL ...] [--split validation]

For each case the rating and the true Dice, both over the structures that are annotated, present and found, and their
rank correlation over cases; then structure by structure.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from tomoseg.inference.score_cases import AS_TRAINED, score_case
from tomoseg.inference.segment import open_predictor
from tomoseg.inference.self_rating import RatingSums
from tomoseg.models.folder import load_model
from tomoseg.preprocessed.read import Preprocessed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preprocessed", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--split", default="validation")
    given = parser.parse_args()
    predictor = open_predictor(given.models[0] if len(given.models) == 1 else [load_model(one) for one in given.models])
    by_case: list[tuple[str, float, float]] = []
    by_structure: dict[str, list[tuple[float, float]]] = {}
    for case in Preprocessed(given.preprocessed).split(given.split):
        choices = predictor.choices(AS_TRAINED)
        sums = RatingSums(choices.labels.names, choices.offsets)
        true = {s.structure: s.dice for s in score_case(predictor, case, sums).structures}
        pairs = {
            name: (value, true[name])
            for name, value in sums.rating().structures.items()
            if value is not None and true.get(name) is not None
        }
        by_case.append((case.name, *np.mean(list(pairs.values()), axis=0)))
        for name, pair in pairs.items():
            by_structure.setdefault(name, []).append(pair)
    for name, value, dice in sorted(by_case, key=lambda row: row[1]):
        print(f"{name:20} rated {value:.3f}  true {dice:.3f}")
    told("cases", [row[1:] for row in by_case])
    for name, pairs in by_structure.items():
        told(name, pairs)


def told(name: str, pairs: list[tuple[float, float]]) -> None:
    """Print the rank correlation, and the mean error of the rating."""
    rated, true = np.array(pairs).T
    rank = spearmanr(rated, true).statistic if len(pairs) > 2 else float("nan")
    print(f"{name:20} n {len(pairs):3}  Spearman {rank:.2f}  rated {rated.mean():.3f}  true {true.mean():.3f}")


if __name__ == "__main__":
    main()

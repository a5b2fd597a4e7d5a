"""The memory that predictions take, measured in processes of their own: within what `--max-memory` says, or refused."""

import subprocess
import sys

import pytest

from tests.nnunet_files import Made, write_training
from tomoseg.models.parts import save_parts
from tomoseg.workflows.import_model import import_model

PREDICT = """
import sys
import numpy as np
from tomoseg.inference.memory import peak_memory_bytes
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.options import Compute, Request
from tomoseg.volume import Volume
model, limit, slices, scans = sys.argv[1], *map(int, sys.argv[2:])
hu = np.asfortranarray(np.random.default_rng(0).integers(-900, 900, (90, 80, slices)).astype(np.int16))
predictor = open_predictor(model, Compute(device="cpu", max_memory=limit))
for _ in range(scans):
    segment(Volume.from_array(hu, np.diag([2.0, 2.0, 2.5, 1.0])), predictor, Request(ml=True))
print(peak_memory_bytes())
"""
SLACK = 5e6
"""What threads may take of their own."""


def peak(model, limit, slices=120, scans=1):
    """Bytes; None if the scan was refused."""
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, str(model), str(int(limit)), str(slices), str(scans)],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0 or "raise --max-memory" in done.stderr, done.stderr[-2000:]
    return int(done.stdout) if done.returncode == 0 else None


def parts_in(folder):
    """A model of two parts."""
    for number, names in enumerate((("liver", "spleen"), ("aorta", "brain", "colon"))):
        labels = {"background": 0} | {name: k for k, name in enumerate(names, start=1)}
        made = Made(patch=(32, 48, 48), features=(16, 24, 32), labels=labels)
        import_model(write_training(folder / f"nn{number}", made), folder / "model" / f"part{number}")
    save_parts(["part0", "part1"], folder / "model")
    return folder / "model"


def one_in(folder):
    """A network of fewer features than structures, of which no sums of logits are held."""
    labels = {"background": 0} | {f"part_{k}": k for k in range(1, 61)}
    made = Made(patch=(32, 48, 48), features=(16, 24, 32), labels=labels)
    import_model(write_training(folder / "nn", made), folder / "model")
    return folder / "model"


def folds_in(folder):
    """Three networks whose logits are averaged, each with feature maps of its own."""
    made = Made(patch=(32, 48, 48), features=(16, 24, 32))
    import_model(write_training(folder / "nn", made, folds=("0", "1", "2")), folder / "model")
    return folder / "model"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("make", [one_in, parts_in, folds_in])
def test_it_stays_within_what_is_allowed(make, tmp_path):
    model = make(tmp_path)
    free = peak(model, 10**10)
    assert peak(model, 1.15 * free) is not None  # no more is asked for than is needed, about
    assert peak(model, 1.15 * free, scans=2) is not None  # what is held after the first scan is not counted twice
    for share in (1.03, 0.98, 0.9, 0.8):
        taken = peak(model, share * free)
        assert taken is None or taken <= share * free + SLACK
    assert peak(model, 0.5 * free) is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_grows_by_the_scans_voxels_alone(tmp_path):
    """In and out: 2 bytes of a voxel and 1 of its label, and what is packed as it is written; not by logits."""
    model = one_in(tmp_path)
    short, long = (peak(model, 10**10, slices) for slices in (120, 480))
    assert long - short < 5 * 90 * 80 * (480 - 120) + SLACK

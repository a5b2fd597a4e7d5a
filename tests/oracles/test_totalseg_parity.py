"""`exact` against TotalSegmentator itself, from a release of small networks to label maps.

`make test-nnunet NNUNET=PYTHON` runs these with a Python that has what `requirements-nnunet.txt` says. What is made
of it is kept in `build/totalseg-oracle`; the table is `build/totalseg-parity.jsonl`.
"""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.oracles.serving import serving
from tomoseg.datasets.download.http import Web
from tomoseg.files.scan import read_scan
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.masks import unpack
from tomoseg.models import releases
from tomoseg.options import Compute, Request
from tomoseg.phantom import make_phantom
from tomoseg.workflows.fetch_model import fetch_model

ORACLE = Path(__file__).parent / "totalseg_oracle.py"
KEPT = Path(__file__).resolve().parents[2] / "build" / "totalseg-oracle"
TABLE = KEPT.parent / "totalseg-parity.jsonl"
MINUTES = 60

pytestmark = [pytest.mark.nnunet, pytest.mark.timeout(60 * MINUTES)]

SHRINK = 3.0
"""Bodies are made so much smaller than they are that a test takes minutes; their voxels measure less."""

TASKS = ("total-6mm", "total", "total-3mm", "body-6mm", "liver_segments", "liver_vessels")
SUBSETS = {"subset": ("total", ("liver", "stomach", "rib_left_7")), "subset-3mm": ("total-3mm", ("heart",))}
RUNS = [*TASKS, *SUBSETS]
PLACES = ("found", "found_32")
FP32 = Compute(device="cpu", engine="torch", precision="fp32")


def made_by_totalsegmentator():
    """The release, the scan and what TotalSegmentator finds in it; made once."""
    python = os.environ.get("NNUNET")
    sources = ORACLE.read_bytes() + (ORACLE.parent / "nnunet_oracle.py").read_bytes()
    folder = KEPT / hashlib.sha256(sources).hexdigest()[:12]
    if not (folder / "done").is_file():
        if not python:
            pytest.skip("NNUNET names no Python that has TotalSegmentator")
        folder.mkdir(parents=True, exist_ok=True)
        write_body(3, folder / "train", "RAS")
        write_body(4, folder / "scan", "LPS", detached=True)
        for step in ("release", "predict"):
            done = subprocess.run(
                [python, str(ORACLE), step, str(folder)],
                capture_output=True, text=True, timeout=60 * MINUTES, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-3000:]
        (folder / "done").write_text(done.stdout)
    return folder


def write_body(seed, path, codes, *, detached=False):
    """A phantom and its labels; detached pieces of it lie beside, which are no body."""
    made = make_phantom(seed, spacing_mm=(4.0, 4.0, 6.0), field_of_view="whole")
    labels = np.zeros(made.hu.shape, np.uint8)
    for number, mask in enumerate(unpack(made.packed, 117), start=1):
        labels[mask.astype(bool)] = number
    hu = made.hu.copy()
    if detached:
        hu[2:9, 2:9, 100:108] = 40
    affine = made.affine.copy()
    affine[:3, :3] /= SHRINK
    turned = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt(codes)
    )
    for values, name in ((hu, path.name), (labels, f"{path.name}_labels")):
        image = nibabel.Nifti1Image(values, affine).as_reoriented(turned)
        nibabel.save(image, path.with_name(f"{name}.nii.gz"))


@pytest.fixture(scope="module")
def found():
    return made_by_totalsegmentator()


@pytest.fixture(scope="module", autouse=True)
def fetched(found, tmp_path_factory):
    """Every model of the release, fetched from a server on this machine into a data folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        data = tmp_path_factory.mktemp("data")
        patch.setattr("platformdirs.user_data_path", lambda name: data)
        patch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)  # computed with torch here
        known = releases.releases()
        sized = {name: known.tasks[name].model_copy(update=_sizes(known.tasks[name], found)) for name in TASKS}
        changed = known.model_copy(update={"tasks": known.tasks | sized})
        for place in ("models.releases", "workflows.fetch_model", "models.packaged"):
            patch.setattr(f"tomoseg.{place}.releases", lambda: changed)
        with serving(found / "release") as url:
            for name in TASKS:
                fetch_model(name, url=url, web=Web())
        yield


def _sizes(task, found):
    parts = [
        part.model_copy(update={"bytes": (found / "release" / part.file).stat().st_size, "sha256": None})
        for part in task.parts
    ]
    return {"parts": tuple(parts)}


@pytest.mark.parametrize("run", RUNS)
def test_exact_is_totalsegmentators(run, found):
    """To the last voxel where its sums over patches have 32 bits; where they have its 16, what differs is explained."""
    task, subset = SUBSETS.get(run, (run, ()))
    scan = read_scan(found / "scan.nii.gz")
    result = segment(scan, open_predictor(task, FP32), Request(ml=True, resampling="exact", roi_subset=subset)).result
    ours = scan.source.from_canonical(result.values)
    theirs, in_32 = (np.asarray(nibabel.load(found / place / f"{run}.nii.gz").dataobj) for place in PLACES)
    assert set(np.unique(theirs)) <= {0, *result.labels.ids}
    rows, rows_of_16 = compared(result.labels, ours, in_32), compared(result.labels, ours, theirs)
    differ = {"32": int((ours != in_32).sum()), "16": int((ours != theirs).sum()), "of": int((theirs > 0).sum())}
    with TABLE.open("a", encoding="utf-8") as table:
        table.write(json.dumps({"run": run, "differ": differ, "rows": rows, "rows of 16": rows_of_16}) + "\n")
    assert rows
    assert all(dice >= 0.999 or differ <= 2 for _, _, dice, differ in rows), rows
    assert np.mean([row[2] for row in rows]) >= 0.9995, rows
    assert ((ours != theirs) & (ours != in_32)).sum() <= 2


def compared(labels, ours, theirs):
    """Of each structure that is there its voxels, Dice, and the voxels that differ."""
    rows = []
    for structure in labels:
        a, b = ours == structure.id, theirs == structure.id
        if (a | b).any():
            dice = 2 * int((a & b).sum()) / int(a.sum() + b.sum())
            rows.append((structure.name, int(b.sum()), dice, int((a ^ b).sum())))
    return rows

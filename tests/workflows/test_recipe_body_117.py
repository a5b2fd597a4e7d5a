"""The recipe of body-117, all of its four rounds, on a few tiny bodies: every step gets what the one before leaves."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tomoseg.config import TrainConfig
from tomoseg.files.nifti import write_nifti
from tomoseg.inference.segment import segment
from tomoseg.labels import LabelSet
from tomoseg.models.packaged import CARD
from tomoseg.models.tuned import tuning_of
from tomoseg.models.views import load_fusion
from tomoseg.options import Request
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.settings import load_config
from tomoseg.volume import SourceGrid, Volume

MAKE = Path(__file__).resolve().parents[2] / "recipes" / "body-117" / "make.py"
SOURCES = {"s0001": 1, "s0002": 2}


@pytest.fixture
def recipe(monkeypatch):
    """The recipe, with few anatomies and a small network."""
    spec = importlib.util.spec_from_file_location("make_body_117", MAKE)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    monkeypatch.setattr(found, "BODIES", (SOURCES,) * 4)
    monkeypatch.setattr(found, "CHOOSING", {"s0003": 2})
    monkeypatch.setattr(found, "SPACINGS_MM", ((6.0, 6.0, 6.0),))
    monkeypatch.setattr(found, "load_config", small)
    return found


def small(base, path):
    """The recipe's settings, with a smaller network."""
    settings = load_config(base, path)
    if not isinstance(settings, TrainConfig):
        return settings
    network = settings.network.model_copy(update={"channels": (8, 16, 16, 16)})
    return settings.model_copy(update={"network": network, "batch_size": 2})


def write_maps(folder: Path) -> None:
    """A block of liver with a spleen and an aorta in it, 12 cm wide, for each source."""
    ids = np.zeros((24, 24, 20), np.uint8)
    for name, box in {
        "liver": np.s_[2:22, 4:20, 2:18],
        "spleen": np.s_[6:10, 8:14, 5:12],
        "aorta": np.s_[14:17, 8:11],
    }.items():
        ids[box] = LabelSet.total()[name].id
    folder.mkdir()
    for name in (*SOURCES, "s0003"):
        write_nifti(
            folder / f"{name}_labels_total_v2.nii.gz", ids, SourceGrid(ids.shape, np.diag([5.0, 5.0, 6.0, 1.0]))
        )


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_whole_recipe_on_a_small_share(tmp_path, recipe, capsys):
    write_maps(tmp_path / "maps")
    before = {path: path.stat().st_mtime_ns for path in recipe.PACKAGE.rglob("*")}
    given = [str(tmp_path / "maps"), "--work", str(tmp_path / "work"), "--share", "0.0005"]
    recipe.main(given)

    work, package = tmp_path / "work", tmp_path / "work" / "packaged"
    assert {path: path.stat().st_mtime_ns for path in recipe.PACKAGE.rglob("*")} == before
    last = Preprocessed(work / "round-4" / "together" / "axial")
    assert sorted(case.name for case in last.cases if case.split == "train") == [
        "earlier_s0001_train_0000", "earlier_s0002_train_0000", "s0001_train_0000", "s0002_train_0000"
    ]  # fmt: skip
    for number, view in [(n, v) for n, minutes in enumerate(recipe.MINUTES, start=1) for v in minutes]:
        start = load_config(TrainConfig(), work / f"round-{number}" / "run" / view / "config.yaml").warm_start
        assert start is None if number == 1 else str(start).endswith(f"round-{number - 1}/run/{view}")

    assert load_fusion(package).folders == ("axial", "coronal")
    assert all((package / view / "openvino" / "int8").is_dir() for view in ("axial", "coronal"))
    assert tuning_of(package).is_current
    card = (package / CARD).read_text(encoding="utf-8")
    assert card.startswith("**A trial of the recipe, of no use")
    assert (
        "0.94" not in card.split("## What is left out")[0].split("| structure |")[0]
    )  # nothing that was measured on real CT
    volume = Volume.from_array(np.full((30, 30, 12), 40, np.int16), np.diag([4.0, 4.0, 4.0, 1.0]))
    assert segment(volume, package, Request(all=True)).mask("liver").shape == (30, 30, 12)

    made = (work / "body-117" / "views.json").stat().st_mtime_ns
    recipe.main(given)  # all is there
    assert (work / "body-117" / "views.json").stat().st_mtime_ns == made


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "half"])
def test_a_share_that_is_none_is_refused(recipe, capsys, text):
    with pytest.raises(SystemExit):
        recipe.main(["maps", "--share", text])
    assert "--share" in capsys.readouterr().err

"""What commands print in French: their tables, summaries and last lines."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.download.server import FileServer, dataset_files, serving, zip_of
from tests.nnunet_files import write_training
from tests.terminal.shown import rows_in
from tests.training.tiny import make_dataset
from tests.workflows.predicting import make_model
from tomoseg.cli import main
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.summary import summarise
from tomoseg.labels import LabelSet
from tomoseg.models.tuned import Tuned
from tomoseg.models.views import Fusion, NetworkWeights
from tomoseg.postprocess.steps import PostprocessStep
from tomoseg.server.command import Left, Ready
from tomoseg.workflows.choosing import Choice
from tomoseg.workflows.demo import DemoReport, PackagedShown
from tomoseg.workflows.fuse import Fused


@pytest.fixture
def french(capsys):
    """Runs a command in French; what it printed, without spaces that do not break."""

    def run(*argv):
        assert main([*map(str, argv), "--lang", "fr"]) == 0
        return capsys.readouterr().out.replace("\xa0", " ")

    return run


def test_labels(french, tmp_path):
    make_model(tmp_path / "model")
    printed = french("labels", tmp_path / "model")
    assert rows_in(printed)[0] == ("structure", "numéro", "groupe", "SNOMED CT", "couleur")
    assert "réglé : non ; predict utilise un seuil de 0,5 pour chaque structure\n" in printed


def test_train_and_models(french, tmp_path):
    make_dataset(tmp_path / "pre")
    size = ("--network.channels", 4, 8, "--sampling.slices-per-case", 2, "--epochs", 1, "--workers", 0)
    flags = ("--preset", "default", "--device", "cpu", "--precision", "fp32", "--no-export", *size)
    began, epoch, trained = french("train", tmp_path / "pre", "-o", tmp_path / "run", *flags).splitlines()
    assert began.startswith("Entraînement : ")
    assert began.endswith(" paramètres ; budget 1 époque")
    assert epoch.startswith("époque   1  ")
    assert "min  perte " in epoch
    assert "perte de validation " in epoch
    assert trained.startswith("Entraîné : meilleur Dice de validation 0,")
    printed = french("models", tmp_path / "run")
    assert "\nréseau : unet, canaux 4, 8\n" in printed
    assert "\ncas d'entraînement : " in printed
    assert re.search(r"\nminutes : \d+,\d+\n", printed)


def test_tune(french, monkeypatch, tmp_path):
    means = {"dice_before": 0.7, "dice_after": 0.75, "dice_on_others": 0.72, "left": {"heart": 2}}
    choices = [
        Choice("liver", 0.8, 0.85, 0.4, (PostprocessStep("closing", 2.5),), 7, 0.83),
        Choice("rib", 0.6, 0.6, 0.5, (), 5, 0.6, "threshold 0.4: -0.0100"),
    ]
    found = Tuned("0" * 64, smoothing=0.5, chosen_on=means), choices
    monkeypatch.setattr("tomoseg.workflows.tune.tune", lambda *args: found)
    printed = french("tune", tmp_path, tmp_path)
    assert rows_in(printed)[:2] == [
        ("structure", "cas", "seuil", "étapes", "Dice avant", "Dice après", "Dice sur d'autres patients"),
        ("liver", "7", "0,4", "closing:2.5", "0,800", "0,850", "0,830"),
    ]
    told = " ".join(printed.split())
    assert "Non retenus, faute de gain sur d'autres patients : rib (seuil 0,4 : -0,0100)." in told
    assert "moins de 5 patients les montrent : heart (2)." in told
    assert "Lissage entre les coupes : 0,5. Dice moyen : 0,7000 avant et 0,7500 après" in told


def test_export(french, tmp_path):
    printed = french("export", make_model(tmp_path / "model"), "--to", "openvino")
    assert printed.startswith(f"openvino/fp32 dans {tmp_path / 'model'} : ")


def test_import_and_models(french, tmp_path):
    folder = write_training(tmp_path / "nn")
    told = " ".join(french("import", folder, "-o", tmp_path / "model", "--folds", "0").split())
    assert "3 structures, plain conv unet en 3 dimensions, voxels de 3 x 2 x 2 mm, pli 0" in told
    assert f"ensuite : tomoseg predict -i CT -o MASKS -m {tmp_path / 'model'}" in told
    printed = french("models", tmp_path / "model")
    assert "\nstructures : chaque voxel a la plus probable, ou aucune\n" in printed
    assert "\nimporté par : tomoseg " in printed


def test_fetch(french):
    printed = french("fetch")
    assert ("total-3mm", "117 structures à 3 mm, par un réseau", "135") in [row[:3] for row in rows_in(printed)]
    assert "Non disponibles : heartchambers_highres, " in printed
    assert ". Chacun demande un numéro de licence, " in printed


def test_download(french, tmp_path):
    with serving(FileServer(zip_of(dataset_files("s0", "s1")))) as server:
        printed = french("download", "--url", server.url, "-o", tmp_path / "a")
    assert printed == f"2 cas dans {tmp_path / 'a'}, dont 2 nouveaux\n"


def test_phantom(french, tmp_path):
    printed = french("phantom", "-o", tmp_path / "a", "--train", 1, "--validation", 0, "--test", 0, "--spacing-mm", 12)
    assert printed == f"1 fantôme dans {tmp_path / 'a'}\n"


def test_fuse(french, monkeypatch, tmp_path):
    fusion = Fusion(("axial", "coronal"), (NetworkWeights(None, {"liver": (0.25, 0.75)}),), ("rib",))
    fused = Fused(fusion, {"liver": 0.9, "rib": np.nan}, ({"liver": 0.8}, {"liver": 0.7}))
    monkeypatch.setattr("tomoseg.workflows.fuse.fuse", lambda *args, **more: fused)
    printed = french("fuse", "a", "b", "-o", tmp_path / "o", "--on", tmp_path)
    assert rows_in(printed) == [
        ("structure", "axial", "coronal", "ensemble", "poids"),
        ("liver", "0,800", "0,700", "0,900", "0,25 0,75"),
    ]
    assert "\nDice moyen : axial 0,8000, coronal 0,7000, ensemble 0,9000\n" in printed
    assert printed.endswith("Segmentées seulement sur demande : rib.\n")


def test_demo(french, monkeypatch, tmp_path):
    summary = summarise([CaseScore("a", ())], LabelSet.from_names(["liver"]))
    packaged = PackagedShown(90, 100, 0.75, 2.5, Path("b.png"))
    report = DemoReport(summary, {"HU threshold": summary}, [Path("a.png")], 4.5, packaged, Path("scores"))
    monkeypatch.setattr("tomoseg.workflows.demo.demo", lambda *args: report)
    printed = french("demo", "-o", tmp_path)
    assert "Dice sur 1 fantôme absent de l'entraînement" in printed
    assert "\nLe score de chaque structure est dans scores/report.html.\n" in printed
    assert ("méthode", "Dice moyen") in rows_in(printed)
    assert ("seuil en UH", "-") in rows_in(printed)
    assert "a trouvé 90 des 100 structures d'un corps synthétique en 2,5 s, avec un Dice moyen de 0,75." in printed
    assert "\nLa démonstration a duré 4,5 minutes. Images :\n  a.png\n  b.png\n" in printed


def test_serve(french, monkeypatch, tmp_path):
    ready = Ready("http://here", tmp_path, "body-117 (117 structures)", "secret", True, False)
    monkeypatch.setattr("tomoseg.server.command.serve_until_stopped", lambda *args: args[-1](ready) or Left(2, True))
    assert french("serve", "-o", tmp_path).splitlines() == [
        "Le serveur est à http://here ; Ctrl-C l'arrête.",
        "modèles : body-117 (117 structures)",
        f"scanners et résultats : {tmp_path}",
        "jeton : secret",
        "Il n'est montré que cette fois-ci, et seule son empreinte est gardée ; --new-token en fait un autre.",
        "Le serveur s'est arrêté ; 2 tâches attendent le prochain démarrage.",
        "Son entraînement est arrêté aussi et ne reprend pas : relancez-le.",
    ]

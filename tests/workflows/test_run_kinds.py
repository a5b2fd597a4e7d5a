import pytest

from tomoseg.models.folds import FOLDS
from tomoseg.training.run_folder import CONFIG, LAST
from tomoseg.workflows.run_kinds import kind_in, settings_in


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ((), None),
        ((CONFIG,), None),
        ((CONFIG, LAST), "one network"),
        ((FOLDS,), "folds"),
        ((FOLDS, "views.json"), "folds"),  # the folds' best models are fused alike
        (("views.json",), "views"),
        ((f"coronal/{LAST}",), "views"),
        (("coronal/other",), None),
    ],
)
def test_the_kind_of_a_run_is_known_from_its_first_step_on(tmp_path, files, kind):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert kind_in(tmp_path) == kind


def test_settings_are_the_runs_own_once_they_are_there(tmp_path):
    assert settings_in(tmp_path / "none") is None
    part = tmp_path / "axial"
    part.mkdir()
    (part / CONFIG).touch()
    (tmp_path / CONFIG).touch()
    assert settings_in(tmp_path) is None  # nothing was learned with them
    (part / LAST).touch()
    assert settings_in(tmp_path) == tmp_path / CONFIG
    (tmp_path / CONFIG).unlink()
    assert settings_in(tmp_path) == part / CONFIG

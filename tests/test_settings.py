from typing import Annotated

import pytest
from pydantic import Field

from tomoseg.config import TRAIN_PRESETS, GridConfig, LossConfig, NetworkConfig, PreprocessConfig, TrainConfig
from tomoseg.errors import ConfigError
from tomoseg.options import Compute, Decisions, EvaluateOptions, PredictOptions
from tomoseg.settings import (
    Config,
    Role,
    chosen_over,
    deciding,
    flat,
    load_together,
    named,
    names_in,
    naming,
    put_over,
    roles,
)
from tomoseg.training.run_folder import FREE_TO_CHANGE

KINDS = (PreprocessConfig, TrainConfig, PredictOptions, EvaluateOptions, Compute, Decisions)
"""Everything that a command takes settings from."""


class Inner(Config):
    a: int = 1
    b: Annotated[int, Role.PRESENTATION] = 2


class Outer(Config):
    inner: Annotated[Inner, Role.RESULT] = Inner(a=5)
    names: Annotated[tuple[str, ...], Role.RESULT] = ()
    weights: Annotated[dict[str, float], Role.RESULT] = Field({})
    workers: Annotated[int, Role.RESOURCES] = 0


class Unmarked(Config):
    inner: Inner = Inner()


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_says_what_it_decides(kind):
    assert set(roles(kind)) == set(flat(kind()))


def test_a_setting_has_its_own_role_or_that_of_its_group():
    result, shown, resources = Role.RESULT, Role.PRESENTATION, Role.RESOURCES
    expected = {"inner.a": result, "inner.b": shown, "names": result, "weights": result, "workers": resources}
    assert roles(Outer) == expected


def test_a_setting_without_a_role_is_refused():
    with pytest.raises(ConfigError, match=r"Unmarked: expected a role for each setting, got none for \['inner.a'\]; a"):
        roles(Unmarked)


def test_what_a_result_depends_on_is_what_is_not_by_default():
    assert deciding(Outer()) == {}
    given = Outer(inner=Inner(a=1, b=3), names=("liver",), workers=4)
    assert deciding(given) == {"inner.a": 1, "names": ["liver"]}  # 1 is Inner's default, but not Outer's
    assert deciding(given, decides={Role.PRESENTATION}) == {"inner.b": 3}
    assert list(deciding(Outer(weights={"liver": 2}), PreprocessConfig(grid=GridConfig(mode="native")))) == [
        "grid.mode",
        "weights",
    ]


def test_what_a_resumed_run_may_change():
    lengths = {"epochs", "steps", "minutes", "early_stopping", "validate_every"}
    resources = {"workers", "prefetch_factor", "pin_memory", "device", "compile"}
    assert lengths | resources | {"export", "pictures", "tensorboard", "wandb", "mlflow", "lang"} == FREE_TO_CHANGE


class TestChosen:
    """Which settings somebody chose, and what goes over what."""

    def test_by_python(self):
        given = TrainConfig(minutes=3, network=NetworkConfig(channels=(8, 16)))
        assert named(given) == {"minutes", "network.channels"}

    def test_none_of_a_preset_that_counts_as_default(self):
        assert named(naming(TRAIN_PRESETS["guide"], ())) == frozenset()
        assert naming(TRAIN_PRESETS["guide"], ()) == TRAIN_PRESETS["guide"]

    def test_exactly_these(self):
        given = naming(TRAIN_PRESETS["default"], ("minutes", "network.slices", "no.such"))
        assert named(given) == {"minutes", "network.slices"}

    def test_what_was_chosen_goes_over(self):
        given = naming(TRAIN_PRESETS["guide"], ("loss.kind", "batch_size"))
        found = chosen_over(TRAIN_PRESETS["default"].model_copy(update={"batch_size": 3}), given)
        assert (found.loss.kind, found.batch_size) == ("bce", 8)
        assert found.loss.emphasis_power == 0.5

    def test_values_that_do_not_go_together(self):
        with pytest.raises(ConfigError, match=r"settings: network: channels needs two levels or more"):
            put_over(TrainConfig(), {"network.channels": (8,)})

    def test_names_in_a_file(self, tmp_path):
        (tmp_path / "a.yaml").write_text("minutes: 3\nloss: {weights: {liver: 2}}\n", encoding="utf-8")
        found = names_in(tmp_path / "a.yaml")
        assert found == {"minutes", "loss", "loss.weights", "loss.weights.liver"}
        loss = LossConfig(weights={"liver": 2.0})
        assert named(naming(TrainConfig(loss=loss), found)) == {"minutes", "loss.weights"}


class TestBeside:
    def file(self, tmp_path, text):
        (tmp_path / "both.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "both.yaml"

    def test_the_other_commands_part_is_passed_over(self, tmp_path):
        path = self.file(tmp_path, "grid: {spacing_mm: 4}\nminutes: 3\nseed: 5\n")
        (train,) = load_together([TrainConfig()], path, [PreprocessConfig()])
        assert (train.minutes, train.seed) == (3, 5)
        (made,) = load_together([PreprocessConfig()], path, [TrainConfig()])
        assert (made.grid.spacing_mm, made.seed) == (4, 5)

    def test_and_has_to_be_right(self, tmp_path):
        path = self.file(tmp_path, "grid: {spacing_mm: -4}\n")
        with pytest.raises(ConfigError, match=r"grid\.spacing_mm: expected a value greater than 0, got -4"):
            load_together([TrainConfig()], path, [PreprocessConfig()])

    def test_what_belongs_to_neither(self, tmp_path):
        with pytest.raises(ConfigError, match=r"both\.yaml: gird: expected one of"):
            load_together([TrainConfig()], self.file(tmp_path, "gird: {}\n"), [PreprocessConfig()])

from typing import Annotated

import pytest
from pydantic import Field

from tomoseg.config import GridConfig, PreprocessConfig, TrainConfig
from tomoseg.errors import ConfigError
from tomoseg.options import Compute, Decisions, EvaluateOptions, PredictOptions
from tomoseg.settings import Config, Role, deciding, flat, roles
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
    assert lengths | resources | {"export", "tensorboard", "lang"} == FREE_TO_CHANGE

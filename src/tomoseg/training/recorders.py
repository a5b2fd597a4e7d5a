"""Recording a run with TensorBoard, Weights & Biases or MLflow, each of which is optional.

All receive the same: numbers of each step and each epoch, the settings, and pictures if there are any. A recorder that
fails causes one warning, and training continues without it. To add one, write its `Recorder` in a module of its own,
and add its line to `_RECORDERS`, `packages.EXTRAS` and `TrainConfig`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from tomoseg.config import TrainConfig
from tomoseg.packages import EXTRAS, require_installed
from tomoseg.training.listener import Beginning, Listener, StepReport

Per = Literal["step", "epoch"]

Pictures = Callable[[int], Mapping[str, Path]]
"""Returns the pictures of an epoch, by structure."""


@runtime_checkable
class Recorder(Protocol):
    """Records a run. It is created before the first step, and resumes the record of an interrupted run."""

    def numbers(self, values: Mapping[str, float], at: int, per: Per) -> None:
        """Record numbers.

        Args:
            values: Values by name.
            at: The step since the beginning of the run, or the epoch, from 1.
            per: Whether `at` is a step or an epoch.
        """

    def picture(self, name: str, file: Path, epoch: int) -> None:
        """Record a picture.

        Args:
            name: Name of the picture.
            file: A PNG file.
            epoch: The epoch, from 1.
        """

    def close(self, *, failed: bool) -> None:
        """Finish writing.

        Args:
            failed: Whether training ended with an error.
        """


_RECORDERS = {
    "tensorboard": "tomoseg.training.tensorboard:TensorBoardRecorder",
    "wandb": "tomoseg.training.weights_and_biases:WandbRecorder",
    "mlflow": "tomoseg.training.mlflow_run:MlflowRecorder",
}
"""Recorder classes by setting, which is also the package's name; created with the run folder and the settings."""


@dataclass
class _Guarded:
    """A recorder whose failure does not end training.

    Attributes:
        setting: Its setting.
        on_warning: Called once with the reason of a failure.
        recorder: The recorder; None before the first step, and after a failure.
    """

    setting: str
    on_warning: Callable[[str], None]
    recorder: Recorder | None = None

    def begin(self, run: Path, config: TrainConfig) -> None:
        """Create the recorder."""
        module, _, name = _RECORDERS[self.setting].partition(":")
        try:
            self.recorder = getattr(import_module(module), name)(run, config)
        except Exception as error:
            self._failed(error)

    def do(self, act: Callable[[Recorder], None]) -> None:
        """Call the recorder, if it has not failed."""
        if self.recorder is None:
            return
        try:
            act(self.recorder)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.recorder = None
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        self.on_warning(f"{EXTRAS[self.setting][0]} has failed, and training goes on without it: {said}")


@contextmanager
def recorders_beside(listener: Listener, run: Path, config: TrainConfig, pictures: Pictures) -> Iterator[Listener]:
    """Yield a listener that also calls the configured recorders, and close them after the block.

    Args:
        listener: Callbacks for progress, and for stopping early.
        run: The run folder.
        config: The settings.
        pictures: Returns the pictures of an epoch.

    Raises:
        ConfigError: If a recorder's package is not installed.
    """
    wanted = [name for name in _RECORDERS if getattr(config, name)]
    require_installed(*wanted)
    if not wanted:
        yield listener
        return
    with ExitStack() as closing:
        recorders = [_Guarded(name, listener.on_warning) for name in wanted]
        for one in recorders:
            closing.push(_closing(one))

        def on_begin(beginning: Beginning) -> None:
            listener.on_begin(beginning)
            for one in recorders:
                one.begin(run, config)

        def on_step(step: StepReport) -> None:
            at = (step.epoch - 1) * step.steps + step.step
            for one in recorders:
                one.do(lambda recorder: recorder.numbers(_of_step(step), at, "step"))
            listener.on_step(step)

        def on_epoch(record: dict[str, Any]) -> None:
            values, epoch = _of_epoch(record), record["epoch"]
            for one in recorders:
                one.do(lambda recorder: recorder.numbers(values, epoch, "epoch"))
                for name, file in pictures(epoch).items():
                    one.do(lambda recorder, name=name, file=file: recorder.picture(name, file, epoch))  # type: ignore[misc]
            listener.on_epoch(record)

        yield replace(listener, on_begin=on_begin, on_step=on_step, on_epoch=on_epoch)


def _closing(one: _Guarded) -> Callable[..., None]:
    def close(kind: type[BaseException] | None, *_: object) -> None:
        one.do(lambda recorder: recorder.close(failed=kind is not None))

    return close


def _of_step(step: StepReport) -> dict[str, float]:
    names = ("loss", "learning_rate", "slices_per_second")
    return {f"train/{name}": getattr(step, name) for name in names}


def _of_epoch(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of an epoch, without those that were not measured."""
    named = {f"dice/{name}": dice for name, dice in record.get("dice", {}).items()}
    named |= {f"validation/{name}": record.get(f"validation_{name}") for name in ("loss", "dice", "iou")}
    named |= {f"train/{name}": record.get(name) for name in ("curriculum_share", "gradient_norm")}
    return {name: value for name, value in named.items() if value is not None}

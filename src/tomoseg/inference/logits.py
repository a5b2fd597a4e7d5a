"""From HU to the logits that decide: padding, constant slices once, mirror images, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from tomoseg.inference.engine import Engine
from tomoseg.labels import LabelSet, counterpart
from tomoseg.networks.images import own_input
from tomoseg.views import left_right_axis


@dataclass(frozen=True)
class Mirror:
    """What is made of a scan's logits and of those of its left-right mirror image, where left structures are right.

    Attributes:
        view: The view of the network.
        wanted: Channels of what is asked for, among those of the engine.
        counterparts: Channels of their counterparts.
    """

    view: str
    wanted: tuple[int, ...]
    counterparts: tuple[int, ...]

    @classmethod
    def of(cls, labels: LabelSet, computed: LabelSet, view: str) -> Mirror:
        """For some structures.

        Args:
            labels: The requested structures.
            computed: What the engine gives: at least `labels` and their counterparts.
            view: The view of the network.
        """
        wanted = tuple(computed.channel(name) for name in labels.names)
        return cls(view, wanted, tuple(computed.channel(counterpart(name)) for name in labels.names))

    def averaged(
        self, logits: Float32[np.ndarray, "n k *xyz"], mirrored: Float32[np.ndarray, "n k *xyz"]
    ) -> Float32[np.ndarray, "n c *xyz"]:
        """The mean of both, where the mirror image has lain before it was one."""
        axis = left_right_axis(self.view)
        back = mirrored[:, list(self.counterparts)]
        if axis < logits.ndim - 2:
            back = np.flip(back, 2 + axis)
        return (logits[:, list(self.wanted)] + back) / 2


class LogitSource:
    """The logits of one network as decisions take them. Threads may share it.

    Attributes:
        engine: What computes the network.
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.

    Args:
        engine: What computes the network.
        offsets: What is subtracted from each structure's logits, so that it is decided at 0; omitted for nothing.
        mirror: Average the logits with those of the mirror image; if omitted, not.
    """

    def __init__(
        self, engine: Engine, offsets: Float32[np.ndarray, "c"] | None = None, mirror: Mirror | None = None
    ) -> None:
        self.engine, self.input_spec = engine, own_input(engine.input_spec)
        self._mirror = mirror
        self._offsets = offsets if offsets is not None and offsets.any() else None
        self._constant: dict[tuple[tuple[int, ...], bytes], Float32[np.ndarray, "c *xyz"]] = {}

    def slices(
        self, hu: Int16[np.ndarray, "x y m"], positions_mm: Float32[np.ndarray, "n"] | None = None
    ) -> list[Float32[np.ndarray, "c x y"]]:
        """Logits of a stack of axial slices.

        Slices are padded with air at their upper ends to what the network needs, and the padding is cut off again.
        A slice that is constant once windowed (air, mostly) is computed once.

        Args:
            hu: Slices on the network's grid, with `input_spec.reach` more at either end.
            positions_mm: Where each of the others lies, for a network that is told.
        """
        x, y, _ = hu.shape
        return [logits[:, :x, :y] for logits in self._each(self.input_spec.of_slices(hu, positions_mm))]

    def block(self, hu: Int16[np.ndarray, "x y z"]) -> Float32[np.ndarray, "c x y z"]:
        """Logits of a block, padded as slices are; one that is constant once windowed is computed once.

        Args:
            hu: HU on the network's grid.
        """
        x, y, z = hu.shape
        (logits,) = self._each(self.input_spec.of_block(hu))
        return logits[:, :x, :y, :z]

    def _each(self, images: Float32[np.ndarray, "n w *xyz"]) -> list[Float32[np.ndarray, "c *xyz"]]:
        voxels = images.reshape(*images.shape[:2], -1)
        constant = (voxels == voxels[:, :, :1]).all(axis=(1, 2))
        varied = iter(self._compute(images[~constant]) if not constant.all() else ())
        return [
            self._of_constant(image) if same else next(varied) for image, same in zip(images, constant, strict=True)
        ]

    def _compute(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float32[np.ndarray, "n c *xyz"]:
        logits = self.engine.run(images)
        if self._mirror is not None:
            logits = self._mirror.averaged(logits, self.engine.run(self.input_spec.mirrored(images, self._mirror.view)))
        if self._offsets is not None:
            logits = logits - self._offsets.reshape(-1, *[1] * (logits.ndim - 2))
        return logits

    def _of_constant(self, image: Float32[np.ndarray, "w *xyz"]) -> Float32[np.ndarray, "c *xyz"]:
        key = (image.shape, image.reshape(len(image), -1)[:, 0].tobytes())
        logits = self._constant.get(key)
        if logits is None:
            logits = self._compute(image[None])[0]
            self._constant = {key: logits}  # whole at once: other threads may have images of another size
        return logits


def mean_logits(
    of_models: Sequence[Float32[np.ndarray, "c x y"]], weights: Float32[np.ndarray, "m c 1 1"] | None = None
) -> Float32[np.ndarray, "c x y"]:
    """The mean over several models of a slice's logits, weighted if weights are given, which add up to 1."""
    if weights is not None:
        return np.sum([weight * logits for weight, logits in zip(weights, of_models, strict=True)], axis=0)
    total = of_models[0]
    for logits in of_models[1:]:
        total = total + logits
    return total / len(of_models)

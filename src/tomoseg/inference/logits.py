"""Logits of slices and blocks in HU: padding, caching of constant slices, mirror images, thresholds."""

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
    """Average of a scan's logits and those of its left-right mirror image, where left and right structures swap.

    Attributes:
        view: View of the network.
        wanted: Channels of the requested structures in the engine's output.
        counterparts: Channels of their left-right counterparts.
    """

    view: str
    wanted: tuple[int, ...]
    counterparts: tuple[int, ...]

    @classmethod
    def of(cls, labels: LabelSet, computed: LabelSet, view: str) -> Mirror:
        """Make it for some structures.

        Args:
            labels: The requested structures.
            computed: The engine's structures: at least `labels` and their counterparts.
            view: View of the network.
        """
        wanted = tuple(computed.channel(name) for name in labels.names)
        return cls(view, wanted, tuple(computed.channel(counterpart(name)) for name in labels.names))

    def averaged(
        self, logits: Float32[np.ndarray, "n k *xyz"], mirrored: Float32[np.ndarray, "n k *xyz"]
    ) -> Float32[np.ndarray, "n c *xyz"]:
        """Return the mean of both on the original image."""
        axis = left_right_axis(self.view)
        back = mirrored[:, list(self.counterparts)]
        if axis < logits.ndim - 2:
            back = np.flip(back, 2 + axis)
        return (logits[:, list(self.wanted)] + back) / 2


class LogitSource:
    """Logits of one network, shifted so that structures are decided at 0. Thread-safe.

    Attributes:
        engine: The engine that runs the network.
        input_spec: The network's input: windows, neighbouring slices, channels, tile size.

    Args:
        engine: The engine that runs the network.
        offsets: Subtracted from each structure's logits, so that its threshold is at 0; if omitted, 0.
        mirror: Average over the mirror image; if omitted, none.
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
        """Compute the logits of a stack of slices.

        Slices are padded with air to a valid size, and the padding is cut off again. The logits of constant slices
        (mostly air) are cached.

        Args:
            hu: Slices in HU on the network's grid, with `input_spec.reach` more at either end.
            positions_mm: Position of each of the n slices, if the network has it as an input.
        """
        x, y, _ = hu.shape
        return [logits[:, :x, :y] for logits in self._each(self.input_spec.of_slices(hu, positions_mm))]

    def block(self, hu: Int16[np.ndarray, "x y z"]) -> Float32[np.ndarray, "c x y z"]:
        """Compute the logits of a block, padded as slices are; those of constant blocks are cached.

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
            self._constant = {key: logits}  # replaced in one step: other threads may have another image size
        return logits


def mean_logits(
    of_models: Sequence[Float32[np.ndarray, "c x y"]], weights: Float32[np.ndarray, "m c 1 1"] | None = None
) -> Float32[np.ndarray, "c x y"]:
    """Return the mean of several models' logits of a slice; weights, if given, add up to 1 over the models."""
    if weights is not None:
        return np.sum([weight * logits for weight, logits in zip(weights, of_models, strict=True)], axis=0)
    total = of_models[0]
    for logits in of_models[1:]:
        total = total + logits
    return total / len(of_models)

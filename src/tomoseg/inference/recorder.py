"""Samples of a network's inputs, recorded during prediction, for the calibration of int8.

They have passed the model's own preprocessing: crop, normalisation, resampling and the box of an imported model, or
windows and neighbouring slices of one that was trained here.
"""

from __future__ import annotations

import heapq
import random

import numpy as np
from jaxtyping import Float32

from tomoseg.inference.engine import Engine
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import AS_TRAINED
from tomoseg.networks.images import EngineInput

NetworkImage = Float32[np.ndarray, "1 w *xyz"]


class WeightedSample:
    """Weighted reservoir sample of images; the weight is the standard deviation of an image's values.

    Constant images, such as air, are never drawn.

    Args:
        count: Number of images to draw.
        seed: Seed of the draws.

    Source:
        Efraimidis, P. S. & Spirakis, P. G. (2006). Weighted random sampling with a reservoir. Information Processing
        Letters 97, 181-185.

    Example:
        >>> drawn = WeightedSample(2)
        >>> for value in range(5):
        ...     drawn.offer(np.array([[[0, value]]], np.float32))
        >>> len(drawn.images), drawn.images[0].shape
        (2, (1, 1, 1, 2))
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        self._count = count
        self._random = random.Random(seed)
        self._held: list[tuple[float, int, NetworkImage]] = []
        self._offered = 0

    def offer(self, image: Float32[np.ndarray, "w *xyz"]) -> None:
        """Offer an image to the sample.

        Args:
            image: An input of the network.
        """
        spread = float(image.std())
        if self._count == 0 or spread == 0:
            return
        self._offered += 1
        entry = (self._random.random() ** (1 / spread), self._offered, image)
        if len(self._held) < self._count:
            heapq.heappush(self._held, (*entry[:2], image[None].copy()))
        elif entry[:2] > self._held[0][:2]:
            heapq.heapreplace(self._held, (*entry[:2], image[None].copy()))

    @property
    def images(self) -> list[NetworkImage]:
        """Drawn images, in the order in which they were offered."""
        return [image for _, _, image in sorted(self._held, key=lambda entry: entry[1])]


class Recorder(Engine):
    """Engine that offers its inputs to a sample; its logits are 0.

    Args:
        input_spec: The network's input: windows, neighbouring slices, channels, tile size.
        values: Structures or features per voxel.
        drawn: The sample.
        headless: Whether the values are features.
    """

    name, device, precision = "recorder", "cpu", "fp32"

    def __init__(self, input_spec: EngineInput, values: int, drawn: WeightedSample, *, headless: bool = False) -> None:
        super().__init__(input_spec)
        self.headless = headless
        self._values, self._drawn = values, drawn

    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float32[np.ndarray, "n c *xyz"]:
        """Offer each image, and return zeros, structures last in memory."""
        for image in images:
            self._drawn.offer(image)
        return np.moveaxis(np.zeros((len(images), *images.shape[2:], self._values), np.float32), -1, 1)


def draw_images(predictor: Predictor, scan: OnGrid, count: int, seed: int = 0) -> list[NetworkImage]:
    """Draw some of a network's inputs from a scan.

    Args:
        predictor: Predictor of a model of one network; not usable for prediction afterwards.
        scan: The scan, from the predictor's `on_grid`.
        count: Largest number of images.
        seed: Seed of the draws.

    Raises:
        ConfigError: If the model that finds this one's box is missing.
        GridError: If the network's grid would be too large.
    """
    (model,) = predictor.models
    computed, drawn = predictor.as_computed(model), WeightedSample(count, seed)
    values = model.record.network.channels[0] if computed.headless else len(model.record.labels)
    predictor.computed_by([Recorder(model.record.input_spec, values, drawn, headless=computed.headless)])
    for _ in predictor.slices(scan, predictor.choices(AS_TRAINED)):
        pass
    return drawn.images

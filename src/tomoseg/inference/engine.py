"""Common interface of engines: a network as a function from slices or blocks to logits."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float32

from tomoseg.networks.images import EngineInput


class Engine(ABC):
    """Base class of engines, which run a network. Thread-safe.

    Attributes:
        name: Its name in `ENGINES`.
        device: The device that it runs on.
        precision: Precision of its convolutions.
        headless: Whether it returns the input of the network's last 1x1 convolution in place of logits.
        at_once: Slices of one forward pass that make it fastest; more gain nothing.

    Args:
        input_spec: The network's input: windows, neighbouring slices, channels, tile size.
    """

    name: str
    device: str
    precision: str
    headless: bool = False
    at_once: int = 1

    def __init__(self, input_spec: EngineInput) -> None:
        self.input_spec = input_spec

    def prepare(self, shape: tuple[int, ...], images: int = 1) -> None:  # noqa: B027  # most have nothing to do
        """Prepare for slices or blocks of a shape, for example by compiling.

        Args:
            shape: Shape of the network's input on its grid.
            images: Slices or blocks of one forward pass.
        """

    def release(self) -> None:  # noqa: B027  # most hold nothing
        """Free memory held for feature maps between scans, so that free memory can be measured."""

    @abstractmethod
    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float32[np.ndarray, "n c *xyz"]:
        """Compute the logits of windowed slices or blocks of a valid size.

        Decisions read structures last: an engine whose output has them last in memory returns a transposed view.

        Raises:
            MemoryError: If the device has too little memory.
        """

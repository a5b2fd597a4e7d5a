"""The network as a function from slices or blocks to logits, whatever computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float32

from tomoseg.networks.images import EngineInput


class Engine(ABC):
    """Something that computes a network. Threads may share one.

    Attributes:
        name: Its name in `ENGINES`.
        device: Where it runs.
        precision: What its convolutions compute in.
        headless: It gives what the network's last 1x1 convolution reads, in place of logits.

    Args:
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.
    """

    name: str
    device: str
    precision: str
    headless: bool = False

    def __init__(self, input_spec: EngineInput) -> None:
        self.input_spec = input_spec

    def prepare(self, shape: tuple[int, ...]) -> None:  # noqa: B027  # most have nothing to do
        """Do now what is done once for slices or blocks of a size, such as compiling.

        Args:
            shape: Of what the network is given, on its grid.
        """

    def release(self) -> None:  # noqa: B027  # most hold nothing
        """Give back what is held for feature maps between scans, so that what is free can be counted."""

    @abstractmethod
    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float32[np.ndarray, "n c *xyz"]:
        """Logits of windowed slices or blocks of a size that the network takes.

        Decisions read structures last: an engine that has them last in memory returns a view of that.

        Raises:
            MemoryError: If the device has too little.
        """

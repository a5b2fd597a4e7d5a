"""Network inputs made from a scan: windowed slices and blocks, or nnU-Net's patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16

from tomoseg.errors import ConfigError
from tomoseg.grid import AIR_HU, apply_windows, padded_shape
from tomoseg.network_kinds import NetworkConfig
from tomoseg.nnunet import NnunetNetwork, NnunetPlan
from tomoseg.views import left_right_axis

POSITION_MM = 200.0
"""Distance in mm from the body's middle beyond which a slice's position value saturates."""


def position_values(positions_mm: Any) -> Any:
    """Scale slice positions to [0, 1], the range of the windows, so that int8 quantises both alike.

    Args:
        positions_mm: Distances from the body's middle in mm; an array of NumPy or PyTorch.

    Example:
        >>> position_values(np.array([-300.0, -100.0, 0.0, 50.0])).tolist()
        [0.0, 0.25, 0.5, 0.625]
    """
    return (positions_mm / (2 * POSITION_MM) + 0.5).clip(0, 1)


def neighbours(k: int, reach: int, slices: int) -> list[int]:
    """Return the indices of a slice and its neighbours, inferior to superior, clamped to the volume.

    Args:
        k: Index of the slice.
        reach: Neighbours on either side.
        slices: Number of slices in the volume.

    Example:
        >>> neighbours(0, 1, 9), neighbours(8, 2, 9)
        ([0, 0, 1], [6, 7, 8, 8, 8])
    """
    return [min(max(j, 0), slices - 1) for j in range(k - reach, k + reach + 1)]


class EngineInput(ABC):
    """The properties of a network's input that an engine needs."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of input channels."""

    @property
    @abstractmethod
    def fixed(self) -> tuple[int, ...]:
        """The only size that the network takes; empty where every multiple of its stride will do."""

    @property
    @abstractmethod
    def is_traceable(self) -> bool:
        """Whether one trace of the network serves every input: its layers are alike at all sizes, or that is fixed."""

    @abstractmethod
    def padded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Size of the network's input for a slice or block that it takes whole.

        Args:
            shape: Voxels along each of the network's axes.
        """

    @abstractmethod
    def example_shape(self) -> tuple[int, ...]:
        """Return the shape `(1, channels, x, y[, z])` of an input to trace the network with.

        Raises:
            ConfigError: If its layers depend on the input's size, which is not given.
        """


def own_input(input_spec: EngineInput) -> NetworkInput:
    """Return the input of a network that was trained with tomoseg.

    Raises:
        ConfigError: If the network is an imported one.
    """
    if not isinstance(input_spec, NetworkInput):
        raise ConfigError(
            "expected a model that was trained with tomoseg, got an imported one; only predict, evaluate and "
            "tune accept it"
        )
    return input_spec


@dataclass(frozen=True)
class NnunetInput(EngineInput):
    """Normalised patches of one size, along the network's own axes.

    Attributes:
        network: The imported network.
        plan: Its nnU-Net plan: patch, axes, normalisation.
    """

    network: NnunetNetwork
    plan: NnunetPlan

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return self.network.in_channels

    @property
    def fixed(self) -> tuple[int, ...]:
        """The patch size: instance normalisation's statistics would differ with another."""
        return self.plan.patch

    @property
    def is_traceable(self) -> bool:
        """True: the input's size is fixed."""
        return True

    def padded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the patch size, whatever the shape."""
        return self.plan.patch

    def example_shape(self) -> tuple[int, ...]:
        """Return the shape of one patch, `(1, channels, *patch)`."""
        return (1, self.channels, *self.plan.patch)


@dataclass(frozen=True)
class NetworkInput(EngineInput):
    """Windowed slices, with their neighbours as channels, or windowed blocks.

    Attributes:
        windows_hu: HU windows, each mapped to 0..1.
        network: The network's settings.
    """

    windows_hu: tuple[tuple[float, float], ...]
    network: NetworkConfig

    @property
    def channels(self) -> int:
        """Number of input channels: windows times neighbouring slices, plus one if the slice's position is an input."""
        return self._of_windows + self.network.position

    @property
    def _of_windows(self) -> int:
        return len(self.windows_hu) * self.network.neighbours

    @property
    def reach(self) -> int:
        """Neighbouring slices on either side of the segmented one."""
        return self.network.neighbours // 2

    @property
    def fixed(self) -> tuple[int, ...]:
        """The only size that the network takes; empty where every multiple of its stride will do."""
        return self.network.record.fixed(self.network)

    @property
    def is_traceable(self) -> bool:
        """Whether one trace of the network serves every input: its layers are alike at all sizes, or that is fixed."""
        return self.network.record.is_traceable(self.network)

    def padded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Size of the network's input for a slice or block that it takes whole.

        Args:
            shape: Voxels along each of the network's axes.
        """
        return self.network.record.grown(self.fixed or padded_shape(shape, self.network.stride))

    def tile(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the tile size along each of the network's axes, without padding.

        Args:
            shape: The shape of the scan on the network's grid.
        """
        whole = shape[: self.network.dims]
        return tuple(min(pair) for pair in zip(whole, self.network.tile or whole, strict=True))

    def example_shape(self) -> tuple[int, ...]:
        """Return the shape `(1, channels, x, y[, z])` of an input to trace the network with; its edges differ.

        Raises:
            ConfigError: If its layers depend on the input's size, which is not given.
        """
        if not self.is_traceable:
            raise ConfigError(
                f"expected network.tile for an export of {self.network.kind}, whose layers depend on the input's size, "
                "got none; train it with a tile, or use engine torch"
            )
        traced = tuple(self.network.stride * (2 + axis) for axis in range(self.network.dims))
        edges = self.padded(self.fixed) if self.fixed else traced
        return (1, self.channels, *edges)

    def of_slices(
        self, hu: Int16[np.ndarray, "x y m"], positions_mm: Float32[np.ndarray, "n"] | None = None
    ) -> Float32[np.ndarray, "n w px py"]:
        """Make the network's input of slices: windowed, and padded with air at the upper end of x and y.

        Args:
            hu: Slices in HU on the network's grid, with `reach` more at either end.
            positions_mm: Position of each of the n slices (`grid.slice_positions`), if the network has it as an input.
        """
        x, y, m = hu.shape
        padded = np.full((m, *self.padded((x, y))), AIR_HU, np.int16)
        padded[:, :x, :y] = np.moveaxis(hu, 2, 0)
        windows = apply_windows(padded, self.windows_hu)
        seen = np.lib.stride_tricks.sliding_window_view(windows, self.network.neighbours, axis=1)
        images = np.moveaxis(seen, (1, 4), (0, 2))  # (n, windows, neighbours, px, py)
        images = images.reshape(len(images), self._of_windows, *padded.shape[1:])
        if not self.network.position:
            return images.copy()
        assert positions_mm is not None  # required with network.position
        told = np.broadcast_to(position_values(positions_mm)[:, None, None, None], (len(images), 1, *images.shape[2:]))
        return np.concatenate([images, told], axis=1)

    def mirrored(self, images: Float32[np.ndarray, "n w *xyz"], view: str) -> Float32[np.ndarray, "n w *xyz"]:
        """Return each image as it is in the left-right mirror image of the scan; sagittal slices swap their neighbours.

        Args:
            images: As `of_slices` or `of_block` makes them.
            view: The view of the network.
        """
        axis = left_right_axis(view)
        if axis < self.network.dims:
            return np.flip(images, 2 + axis).copy()
        windows = images[:, : self._of_windows]
        by_neighbour = windows.reshape(len(images), len(self.windows_hu), -1, *images.shape[2:])
        turned = by_neighbour[:, :, ::-1].copy().reshape(windows.shape)
        return np.concatenate([turned, 1 - images[:, self._of_windows :]], axis=1) if self.network.position else turned

    def of_block(self, hu: Int16[np.ndarray, "x y z"]) -> Float32[np.ndarray, "1 w px py pz"]:
        """Make the network's input of a block: windowed, and padded with air at the upper end of each axis.

        Args:
            hu: HU on the network's grid.
        """
        padded = np.full(self.padded(hu.shape), AIR_HU, np.int16)
        padded[tuple(slice(edge) for edge in hu.shape)] = hu
        return np.ascontiguousarray(apply_windows(padded, self.windows_hu)[None])

"""A model that is loaded once and segments many scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8
from torch import Tensor

from tomoseg.config import AUTO, EngineName, GridConfig
from tomoseg.grid import Placement, place_grid, to_grid
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.decide import decide_labels, decide_masks, label_dtype, scan_slices
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet
from tomoseg.masks import packed_bytes, unpack
from tomoseg.models.folder import Model, restrict_structures
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import Volume

Progress = Callable[[int, int], None]
"""Told after each slice of a scan: slices done, slices in all."""


class Predictor:
    """Segments scans with one model.

    Args:
        model: A loaded model.
        structures: The structures to predict; none named predicts all.
        engine: `auto`, `torch` or `openvino`.
        device: `auto`, `cpu`, `cuda`, ...
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: Slices in one forward pass.

    Raises:
        LabelError: If the model does not know a structure.
        ConfigError: If this machine has no such device, engine or precision.

    Example:
        >>> predictor = Predictor(load_model(Path("model")))  # doctest: +SKIP
        >>> segmentation = predictor.predict_volume(read_ct(Path("ct.nii.gz")))  # doctest: +SKIP
        >>> segmentation.mask("liver").sum()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Model,
        *,
        structures: tuple[str, ...] = (),
        engine: EngineName = "auto",
        device: str = "auto",
        precision: str = "auto",
        batch_size: int = AUTO.batch_size,
    ) -> None:
        model = restrict_structures(model, structures)
        self.labels: LabelSet = model.record.labels
        self.grid: GridConfig = model.record.grid
        self.batch_size = batch_size
        self.engine = choose_engine(model, engine, device, precision)

    def predict_volume(
        self, volume: Volume, progress: Progress | None = None, stages: Stages | None = None
    ) -> Segmentation:
        """Independent masks of a scan, on its own grid.

        Args:
            volume: The scan.
            progress: Told after each slice.
            stages: Takes the seconds of `grid`, `network` and `decisions`.
        """
        stages = stages or Stages()
        segmentation = Segmentation(self.labels, volume.source)
        placement, on_grid = self._to_grid(volume, stages)
        for k, packed in enumerate(self.packed_slices(on_grid, placement, volume.shape, stages)):
            segmentation.append(packed)
            if progress is not None:
                progress(k + 1, volume.shape[2])
        return segmentation

    def predict_label_map(
        self, volume: Volume, progress: Progress | None = None, stages: Stages | None = None
    ) -> LabelMap:
        """One structure a voxel: the highest positive logit; ties go to the structure that comes first.

        Args:
            volume: The scan.
            progress: Told after each slice.
            stages: Takes the seconds of `grid`, `network` and `decisions`.
        """
        stages = stages or Stages()
        placement, on_grid = self._to_grid(volume, stages)
        values = np.zeros(volume.shape, label_dtype(self.labels.ids), order="F")
        box = placement.box()
        slices = scan_slices(self._grid_logits(on_grid, stages), placement)
        for k in range(volume.shape[2]):
            if box[2].start <= k < box[2].stop:
                between = next(slices)
                with stages("decisions"):
                    values[box[0], box[1], k] = decide_labels(between, _size(placement), self.labels.ids)
            if progress is not None:
                progress(k + 1, volume.shape[2])
        return LabelMap(values, self.labels, volume.source)

    def predict_batch(
        self, slices: Int16[np.ndarray, "n x y"], spacing_mm: tuple[float, float]
    ) -> Bool[np.ndarray, "n c x y"]:
        """Masks of axial slices, which are given the grid of one stack.

        Args:
            slices: HU, RAS+ order.
            spacing_mm: Pixel edges along x and y.
        """
        distance_mm = self.grid.slice_spacing_mm or 1.0  # so that the slices are not mixed
        volume = Volume.from_array(np.moveaxis(slices, 0, 2), np.diag([*spacing_mm, distance_mm, 1.0]))
        placement, on_grid = self._to_grid(volume, Stages())
        packed = np.stack(list(self.packed_slices(on_grid, placement, volume.shape)), axis=1)
        return np.moveaxis(unpack(packed, len(self.labels)), 0, 1)

    def predict_slice(self, hu: Int16[np.ndarray, "x y"], spacing_mm: tuple[float, float]) -> Bool[np.ndarray, "c x y"]:
        """Masks of one axial slice.

        Args:
            hu: HU, RAS+ order.
            spacing_mm: Pixel edges along x and y.
        """
        return self.predict_batch(hu[None], spacing_mm)[0]

    def grid_masks(self, on_grid: Int16[np.ndarray, "gx gy gz"]) -> Bool[np.ndarray, "c gx gy gz"]:
        """Masks of slices that are on the network's grid already, decided there.

        Args:
            on_grid: HU; a few slices, since every structure's mask is returned whole.
        """
        return np.stack([(logits > 0).cpu().numpy() for logits in self._grid_logits(on_grid, Stages())], axis=3)

    def packed_slices(
        self,
        on_grid: Int16[np.ndarray, "gx gy gz"],
        placement: Placement,
        shape: tuple[int, int, int],
        stages: Stages | None = None,
    ) -> Iterator[UInt8[np.ndarray, "b x y"]]:
        """Packed masks of each of the scan's slices, from the scan on the network's grid.

        Args:
            on_grid: HU on the network's grid.
            placement: Where the grid lies in the scan.
            shape: The scan's shape in RAS+ order.
            stages: Takes the seconds of `network` and `decisions`.
        """
        stages = stages or Stages()
        box = placement.box()
        empty = np.zeros((packed_bytes(len(self.labels)), *shape[:2]), np.uint8)
        yield from (empty for _ in range(box[2].start))
        for between in scan_slices(self._grid_logits(on_grid, stages), placement):
            with stages("decisions"):
                packed = empty.copy()
                packed[:, box[0], box[1]] = decide_masks(between, _size(placement))
            yield packed
        yield from (empty for _ in range(box[2].stop, shape[2]))

    def _to_grid(self, volume: Volume, stages: Stages) -> tuple[Placement, Any]:
        with stages("grid"):
            placement = place_grid(volume.hu, volume.spacing_mm, self.grid)
            return placement, to_grid(volume.hu, placement)

    def _grid_logits(
        self, on_grid: Int16[np.ndarray, "gx gy gz"], stages: Stages
    ) -> Iterator[Float[Tensor, "c gx gy"]]:
        for first in range(0, on_grid.shape[2], self.batch_size):
            with stages("network"):
                logits = self.engine.logits(on_grid[:, :, first : first + self.batch_size])
            yield from logits


def _size(placement: Placement) -> tuple[int, int]:
    return placement.extent[:2]

"""An imported model that is loaded once and segments many scans, as nnU-Net itself would."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, Int16

from tomoseg.errors import ConfigError
from tomoseg.grid import Placement, Triple
from tomoseg.inference.background import prefetch
from tomoseg.inference.choices import Choices
from tomoseg.inference.decide import SlicePair, load_kernels, scan_slices
from tomoseg.inference.engine import Engine
from tomoseg.inference.memory import activation_bytes, batch_that_fits, give_back
from tomoseg.inference.nnunet.decided import ExclusiveSlice, RegionSlice, own_logits
from tomoseg.inference.nnunet.frame import NetworkGrid, lay_grid
from tomoseg.inference.nnunet.patches import PatchLogits, bytes_of_sums, means_of_slices
from tomoseg.inference.nnunet.scan import normalise, slices_on_grid
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import GridLogits, LogitSink, Predictor
from tomoseg.inference.sinks import Progress, ScanSlice
from tomoseg.inference.smoothing import MOST_REACH, smoothed
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet
from tomoseg.masks import unpack
from tomoseg.models.folder import Model, restrict_structures, without_head
from tomoseg.models.heads import head_of, mean_head
from tomoseg.nnunet import NnunetPlan
from tomoseg.options import AS_TUNED, Request
from tomoseg.volume import Volume

OPENVINO_MAPS, TORCH_MAPS = 4, 9
"""Upper bound of feature maps of the first stage's width held at once, as measured, with room for weights."""


class NnunetPredictor(Predictor):
    """Predictor of an imported model, of one network or of several folds whose logits are averaged. Thread-safe.

    Takes the arguments of `Predictor`.
    """

    @property
    def plan(self) -> NnunetPlan:
        """The nnU-Net plan of its networks."""
        assert self.record.plan is not None  # every imported model has one
        return self.record.plan

    @property
    def takes_thresholds(self) -> bool:
        """False for exclusive structures: the most probable is taken."""
        return self.plan.decision != "exclusive"

    @property
    def takes_temperatures(self) -> bool:
        """True."""
        return True

    def engines(self, labels: LabelSet | None = None) -> list[Engine]:
        """Return the engine of each fold, as `Predictor.engines`; of exclusive structures all are computed.

        Networks with fewer features than structures are computed without their head (`models/heads.py`).
        """
        return super().engines(self._computed_labels(labels))

    def _computed_labels(self, labels: LabelSet | None) -> LabelSet:
        return self.record.labels if labels is None or self.plan.decision == "exclusive" else labels

    def as_computed(self, model: Model) -> Model:
        """Return the whole model, or without its head where it has fewer features than structures.

        Args:
            model: One of the models, with all or some of its structures.
        """
        return without_head(model) if self._features < len(model.record.labels) else model

    @property
    def _features(self) -> int:
        """Number of features per voxel of all folds."""
        return sum(model.record.network.channels[0] for model in self.models)

    def patch_logits(self, grid: NetworkGrid, labels: LabelSet | None = None, *, flips: bool = False) -> PatchLogits:
        """Make the function that computes the logits of patches.

        Args:
            grid: The network's grid in the scan.
            labels: Some of the structures, as for `engines`.
            flips: Average over mirror images.

        Raises:
            ConfigError: If this machine has no such device, engine or precision.
            ModelError: If a file of the model is damaged.
        """
        engines, computed = self.engines(labels), self._computed_labels(labels)
        head = None
        if engines[0].headless:
            head = mean_head([head_of(restrict_structures(model, computed.names)) for model in self.models])
        return PatchLogits(engines, grid.frame, self.plan.mirrored if flips else (), head)

    def choices(self, request: Request = AS_TUNED) -> Choices:
        """Return the decision settings, as `Predictor.choices`.

        Args:
            request: The request; its mirror images are along all axes along which training mirrored.

        Raises:
            LabelError: If the model does not know a structure.
            ConfigError: If mirror images are requested and training had none, thresholds are requested for exclusive
                structures, or a step does not fit the rest.
            ModelError: If the record of tuning cannot be read.
        """
        found = super().choices(request.model_copy(update={"flips": False}))
        if request.flips and not self.plan.mirrored:
            raise ConfigError(
                "expected a model that was trained on mirror images, for flips, got another; leave flips off"
            )
        if not self.takes_thresholds and found.offsets.any():
            raise ConfigError(
                "expected no thresholds for a model whose structures exclude one another, which takes the "
                "most probable one, got some; leave --threshold off"
            )
        return replace(found, decisions=found.decisions.model_copy(update={"flips": request.flips}))

    def on_grid(self, volume: Volume, stages: Stages) -> OnGrid:
        """Return the scan on its own voxels: `slices` normalises it and resamples it to the network's grid.

        Args:
            volume: The scan.
            stages: Unused.
        """
        shape = volume.shape
        return OnGrid([volume.hu], Placement((0, 0, 0), shape, shape), volume.source)

    def slices(
        self,
        scan: OnGrid,
        choices: Choices,
        stages: Stages | None = None,
        watch: LogitSink | None = None,
        progress: Progress | None = None,
    ) -> Iterator[ScanSlice]:
        """Yield each axial slice of the scan from inferior to superior, with the logits to decide its masks from.

        Args:
            scan: The scan on its own voxels.
            choices: Structures, thresholds, smoothing and post-processing.
            stages: Records the duration of the stages `grid`, `prepare` and `network`.
            watch: Receives the logits of every slice of the network's grid, each structure's as if it were alone.
            progress: Called after each slice with the number of slices done and the total number of slices.

        Raises:
            ConfigError: If the scan was resampled.
            GridError: If the network's grid would be too large.
            InputError: If the scan does not fit into the memory allowed.
        """
        stages = stages or Stages()
        with stages("grid"):
            hu = whole_scan(scan)
            grid = lay_grid(hu, scan.source, self.plan)
        placement = _moved(grid.placement, scan.placement.start)
        logits = prefetch(self._logits(hu, grid, choices, stages, watch), 1)
        between, depth = scan_slices(logits, placement), placement.box()[2]
        count = scan.source.canonical_shape[2]
        for k in range(count):
            yield self._decided(k, next(between) if depth.start <= k < depth.stop else None, placement, scan, choices)
            if progress is not None:
                progress(k + 1, count)
        for _ in logits:  # grid slices beyond the scan's last are watched as well
            pass

    def predict_batch(
        self, slices: Int16[np.ndarray, "n x y"], spacing_mm: tuple[float, float], request: Request = AS_TUNED
    ) -> Bool[np.ndarray, "n c x y"]:
        """Segment axial slices, as `Predictor.predict_batch`, each as a scan of one slice of 1 mm."""
        choices = self.choices(request)
        found = []
        for one in slices:
            volume = Volume.from_array(one[..., None], np.diag([*spacing_mm, 1.0, 1.0]))
            (made,) = self.slices(self.on_grid(volume, Stages()), choices)
            found.append(unpack(made.masks(), len(choices.labels)))
        return np.stack(found)

    def grid_slices(
        self, scan: OnGrid, wanted: Sequence[int], choices: Choices
    ) -> dict[int, Bool[np.ndarray, "c gx gy"]]:
        """Segment some slices of a scan, on its own voxels; all slices are computed.

        Args:
            scan: The scan on its own voxels.
            wanted: Indices of the slices.
            choices: Structures, thresholds, smoothing and post-processing.

        Raises:
            ConfigError: If the scan was resampled.
        """
        return masks_of_some(self.slices(scan, choices), scan, wanted, choices)

    def watched_at(self, scan: OnGrid) -> Placement:
        """Return the placement in a scan of the network's grid, on which logits are watched.

        Args:
            scan: The scan on its own voxels.
        """
        return lay_grid(whole_scan(scan), scan.source, self.plan).placement

    def _logits(
        self,
        hu: Int16[np.ndarray, "x y z"],
        grid: NetworkGrid,
        choices: Choices,
        stages: Stages,
        watch: LogitSink | None,
    ) -> Generator[GridLogits, None, None]:
        """Yield the logits of each slice of the network's grid, smoothed and shifted to be decided at 0."""
        compute, plan = self.patch_logits(grid, choices.labels, flips=choices.decisions.flips), self.plan
        self._check_memory(hu, grid, choices)
        with stages("prepare"):
            for engine in self.engines(choices.labels):
                engine.prepare(plan.patch)
            give_back()
        self._check_memory(hu, grid, choices)  # again, now that the compiled networks' memory is taken
        with stages("grid"):
            scan = normalise(hu[grid.placement.box()], plan.intensity)
        slabs = stages.of("grid", slices_on_grid(scan, grid, plan))
        made = stages.of("network", map(compute.logits, means_of_slices(compute, slabs, grid, plan.step)))
        offsets = choices.offsets.reshape(-1, 1, 1)
        for logits in smoothed(made, choices.decisions.smoothing):
            deciding: Float32[np.ndarray, "c x y"] = logits - offsets if offsets.any() else logits
            if watch is not None:
                self._show(deciding, choices, watch)
            yield deciding

    def _show(self, logits: GridLogits, choices: Choices, watch: LogitSink) -> None:
        """Pass the logits of requested structures to `watch`; of exclusive ones the highest takes the voxel."""
        if self.plan.decision == "regions":
            watch.add(logits)
            return
        wanted = [self.record.labels.channel(name) for name in choices.labels.names]
        winners = np.where(logits.max(axis=0) > 0, logits.argmax(axis=0), -1)
        watch.add(own_logits(logits)[wanted], inside=winners == np.array(wanted)[:, None, None])

    def _decided(
        self, k: int, between: SlicePair | None, placement: Placement, scan: OnGrid, choices: Choices
    ) -> ScanSlice:
        shape = scan.source.canonical_shape
        if self.plan.decision == "regions":
            return RegionSlice(k, between, placement, shape, choices.labels, choices.offsets, choices.scales)
        scales = None if choices.temperatures is None else choices.scales
        return ExclusiveSlice(k, between, placement, shape, choices.labels, self.record.labels, scales)

    def _check_memory(self, hu: Int16[np.ndarray, "x y z"], grid: NetworkGrid, choices: Choices) -> None:
        """Refuse a scan that does not fit into the allowed memory.

        Raises:
            InputError: If so.
        """
        if self.max_memory is None:
            return
        load_kernels()
        self.release(choices.labels)
        structures = len(self._computed_labels(choices.labels))
        gx, gy, _ = grid.placement.shape
        smoothed_over = 2 * MOST_REACH + 1 if choices.decisions.smoothing > 0 else 0
        slices = 4 * structures * gx * gy * (5 + smoothed_over)  # two around the scan's slice, prefetched, waiting
        patch = int(np.prod(self.plan.patch, dtype=np.int64))
        activations = activation_bytes(self.record.network) * patch
        if self.engines(choices.labels)[0].name == "openvino":
            activations = activations * OPENVINO_MAPS // TORCH_MAPS * len(self.models)  # one set per network
        result = hu.size * 2
        values = self._features if self.engines(choices.labels)[0].headless else structures
        images = 2 ** len(self.plan.mirrored) if choices.decisions.flips else 1
        sums = bytes_of_sums(grid, values, len(self.models), images)
        batch_that_fits(self.max_memory, result + slices + sums, activations, 1)


def masks_of_some(
    slices: Iterator[ScanSlice], scan: OnGrid, wanted: Sequence[int], choices: Choices
) -> dict[int, Bool[np.ndarray, "c gx gy"]]:
    """Return the masks of some slices of the grid's box in a scan.

    Args:
        slices: All slices of the scan.
        scan: The scan on its own voxels.
        wanted: Indices of the slices in the box.
        choices: Structures, thresholds, smoothing and post-processing.
    """
    x, y, z = scan.placement.box()
    return {
        each.number - z.start: unpack(each.masks(), len(choices.labels))[:, x, y]
        for each in slices
        if each.number - z.start in wanted
    }


def whole_scan(scan: OnGrid) -> Int16[np.ndarray, "x y z"]:
    """Return all voxels of a scan.

    Args:
        scan: The scan on its own voxels.

    Raises:
        ConfigError: If the scan was resampled.
    """
    if scan.placement.resamples or scan.view != "axial":
        raise ConfigError(
            "expected scans on their own voxels for an imported model, which resamples them itself, got "
            "resampled ones; preprocess with --grid.mode native --grid.view axial"
        )
    slabs = list(scan.slabs)
    return slabs[0] if len(slabs) == 1 else np.concatenate(slabs, axis=2)


def _moved(placement: Placement, by: Triple) -> Placement:
    x, y, z = (one + more for one, more in zip(placement.start, by, strict=True))
    return replace(placement, start=(x, y, z))

"""`tomoseg preview`: training slices as the network sees them."""

from __future__ import annotations

from itertools import chain, count, islice
from pathlib import Path

import numpy as np

from tomoseg.config import TrainConfig
from tomoseg.files.outputs import check_file
from tomoseg.language.words import later, number, say
from tomoseg.networks.images import NetworkInput
from tomoseg.pictures.samples import Sample, draw_samples, words_of_change
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.augmentation import network_input
from tomoseg.training.build import drawn_slices
from tomoseg.training.changes import draw_change
from tomoseg.training.curriculum import curriculum_share, easiest_slices
from tomoseg.training.sampling import Draw, draw_epoch, sample_size
from tomoseg.training.slices import Batch, DrawnSlices
from tomoseg.views import AXES

SAMPLES = 16


def preview(preprocessed: Path, output: Path, config: TrainConfig) -> int:
    """Draw the first training slices, each with its structures and augmentation.

    Of several windows the first is shown.

    Args:
        preprocessed: A preprocessed dataset.
        output: The PNG file.
        config: The settings of the training.

    Returns:
        Number of slices drawn.

    Raises:
        DatasetError: If the dataset cannot be used, or has no training cases.
        OutputError: If the file cannot be written.
    """
    check_file(output)
    data = Preprocessed(preprocessed)
    config = config.of_view(data.grid.view) if config.views else config
    cases = data.split("train")
    records = [case.record for case in cases]
    size, reach = sample_size(records, config), NetworkInput(config.windows_hu, config.network).reach
    slices = drawn_slices(data, config, size, reach)
    schedule = config.curriculum
    easiest = easiest_slices(records, curriculum_share(schedule, 0)) if schedule.enabled else None
    epochs = (draw_epoch(records, config.sampling, config.seed, epoch, easiest) for epoch in count())
    draws = list(islice(chain.from_iterable(epochs), SAMPLES))
    samples = [sample_of(slices, draw, config) for draw in draws]
    lang = config.lang
    state = "" if config.augmentation.enabled else say("augmentation is off, ", lang)
    low, high = config.windows_hu[0]
    edges = " × ".join(map(str, size))
    pixels = later("{edges} pixels, window {low} to {high} HU")
    voxels = later("{edges} voxels, window {low} to {high} HU")
    details = state + say(pixels if len(size) == 2 else voxels, lang, edges=edges, low=f"{low:.0f}", high=f"{high:.0f}")
    title = say("Training slices of {name}", lang, name=preprocessed.absolute().name)
    draw_samples(samples, data.labels, output, title, details, lang=lang)
    return len(samples)


def sample_of(slices: DrawnSlices, draw: Draw, config: TrainConfig) -> Sample:
    """Return one training slice, or the middle one of a block.

    Args:
        slices: The slices to draw from.
        draw: The draw.
        config: The settings of the training.
    """
    augmentation = config.augmentation
    case, (x, y) = slices.cases[draw.case], slices.size[:2]
    batch = slices[draw]
    images, packed = network_input(batch, config, augment=augmentation.enabled)
    where = f"{case.name}, {'xyz'[AXES[case.view][2]]} = {draw.slice}"
    if images.ndim == 5:  # the slice that was drawn may lie anywhere in its block
        where = case.name
        images, packed = (part[..., images.shape[-1] // 2] for part in (images, packed))
    middle = config.network.neighbours // 2  # of the neighbouring slices in the first window
    grey = np.rint(images[0, middle].numpy() * 255).astype(np.uint8)
    changes = (*_words_of_reading(slices, draw, config), *_words_of_position(batch, config))
    if augmentation.enabled:
        changes += words_of_change(draw_change(draw.key, augmentation), (x, y), config.lang)
    return Sample(
        where,
        grey,
        packed[0].numpy(),
        case.grid_spacing_mm[:2],
        changes or (say("as it is", config.lang),),
        case.view,
    )


def _words_of_position(batch: Batch, config: TrainConfig) -> tuple[str, ...]:
    """Return in words the position given to the network; `-` is left or posterior."""
    if batch.positions_mm is None:
        return ()
    moved = draw_change(batch.keys[0], config.augmentation).misplaced_mm if config.augmentation.enabled else 0.0
    mm = round(float(batch.positions_mm[0]) + moved)
    return (say("told {mm} mm off the middle", config.lang, mm=f"{'+' if mm > 0 else '−' if mm < 0 else ''}{abs(mm)}"),)


def _words_of_reading(slices: DrawnSlices, draw: Draw, config: TrainConfig) -> tuple[str, ...]:
    """Return in words the changes made to a slice while reading it, before those in `Change`."""
    said = []
    if slices.sides is not None and slices.sides.drawn(draw.key):
        said.append(say("sides exchanged", config.lang))
    if slices.stacks is not None:
        case = slices.cases[draw.case]
        edge_mm, height = case.grid_spacing_mm[1], case.shape[1]
        kept = slices.stacks.kept(case.masks_slice(draw.slice), edge_mm, draw.key, draw.structure)
        if kept.stop - kept.start < height:
            mm = number((kept.stop - kept.start) * edge_mm, 0, config.lang)
            said.append(say("cut to a height of {mm} mm", config.lang, mm=mm))
    return tuple(said)

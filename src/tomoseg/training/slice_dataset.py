"""A split of a preprocessed dataset as a PyTorch dataset, for custom training loops."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from jaxtyping import Bool, Int16, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from tomoseg.errors import ConfigError
from tomoseg.networks.packed import unpack_bits
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.sampling import Draw
from tomoseg.training.slices import DrawnSlices


class LabelledSlice(NamedTuple):
    """One axial slice with its masks. Slices of the same size can be collated by a PyTorch `DataLoader`.

    Attributes:
        hu: `(s, x, y)` int16 HU, the slice with its neighbours from inferior to superior.
        masks: `(c, x, y)` bool, or `(ceil(c / 8), x, y)` uint8 if the dataset returns packed masks.
        annotated: `(c,)` bool, False for structures that are not annotated in this case: their masks are empty, and
            must not be used as background.

    Example:
        >>> import torch
        >>> LabelledSlice(torch.zeros(1, 4, 4).short(), torch.zeros(2, 4, 4).bool(), torch.ones(2).bool()).masks.shape
        torch.Size([2, 4, 4])
    """

    hu: Int16[Tensor, "s x y"]
    masks: Bool[Tensor, "c x y"] | UInt8[Tensor, "b x y"]
    annotated: Bool[Tensor, "c"]


class SliceDataset(Dataset[LabelledSlice]):
    """Every axial slice of a split, on the network's grid, in the order of the cases.

    Nothing is cropped at random, windowed or augmented. It can be pickled, so `DataLoader` may read in several
    processes.

    Args:
        folder: A folder written by `tomoseg preprocess`.
        split: `train`, `validation` or `test`.
        size: Pixels along x and y that every slice is centrally cropped or padded to, so that slices of different cases
            fit into one batch; if omitted, each slice has the size of its case.
        neighbours: Number of neighbouring slices on either side; at the ends of a scan the last slice is repeated.
        packed: Return masks as they are stored, eight structures per byte.

    Raises:
        DatasetError: If the folder is not a preprocessed dataset, or has no case in the split.
        ConfigError: If the size is below 1 or the neighbours are below 0.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> slices = SliceDataset(Path("PREPROCESSED"), split="train", size=(64, 64), neighbours=1)
        >>> slices[0].hu.shape, slices[0].masks.shape == (len(slices.labels), 64, 64)
        (torch.Size([3, 64, 64]), True)
        >>> batch = next(iter(DataLoader(slices, batch_size=4)))
        >>> batch.hu.shape
        torch.Size([4, 3, 64, 64])
    """

    def __init__(
        self,
        folder: Path | str,
        split: str = "train",
        *,
        size: tuple[int, int] | None = None,
        neighbours: int = 0,
        packed: bool = False,
    ) -> None:
        if neighbours < 0 or (size is not None and min(size) < 1):
            raise ConfigError(
                f"expected 0 or more neighbours and 1 pixel or more along x and y, got {neighbours} and {size}; "
                "correct them"
            )
        data = Preprocessed(folder)
        self.labels = data.labels
        self.cases = data.split(split)
        self._size, self._neighbours, self._packed = size, neighbours, packed
        self._places = [(number, k) for number, case in enumerate(self.cases) for k in range(case.slices)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> LabelledSlice:
        number, k = self._places[index]
        size = self._size or self.cases[number].shape[:2]
        slices = DrawnSlices(self.cases, len(self.labels), size, self._neighbours, centred=True)
        one = slices[Draw(number, k, (0, 0, 0))]
        masks = one.packed if self._packed else unpack_bits(one.packed, len(self.labels))
        return LabelledSlice(one.hu[0], masks[0], one.annotated[0])

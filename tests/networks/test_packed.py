import numpy as np
import pytest
import torch

from tomoseg import masks
from tomoseg.networks.packed import pack_bits, unpack_bits


@pytest.mark.parametrize("structures", range(1, 131))
def test_bits_are_those_of_the_files(structures):
    truth = np.random.default_rng(structures).random((2, structures, 3, 2)) < 0.5
    packed = np.stack([masks.pack(case) for case in truth])
    assert torch.equal(pack_bits(torch.from_numpy(truth)), torch.from_numpy(packed))
    assert torch.equal(unpack_bits(torch.from_numpy(packed), structures), torch.from_numpy(truth))


def test_by_hand():
    # Structures 0, 2 and 8 of 9: 1 + 4 in the first byte, 1 in the second.
    packed = torch.tensor([5, 1], dtype=torch.uint8).view(1, 2, 1)
    assert unpack_bits(packed, 9).flatten().nonzero().flatten().tolist() == [0, 2, 8]
    assert torch.equal(pack_bits(unpack_bits(packed, 9)), packed)


def test_volumes():
    truth = torch.rand(1, 11, 2, 3, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    packed = pack_bits(truth)
    assert packed.shape == (1, 2, 2, 3, 4)
    assert torch.equal(unpack_bits(packed, 11), truth)

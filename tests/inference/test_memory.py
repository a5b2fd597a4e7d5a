"""Memory: what is said of this process, and not of the one that started it."""

import subprocess
import sys

import numpy as np

from tomoseg.config import NetworkConfig
from tomoseg.inference.memory import activation_bytes, peak_memory_bytes


def test_the_peak_rises_with_what_is_held_and_stays():
    before = peak_memory_bytes()
    block = np.ones(before + 2**27, np.uint8)
    during = peak_memory_bytes()
    assert during - before > 2**26
    del block
    assert peak_memory_bytes() > during - 2**24  # the kernel counts in batches


def test_the_peak_is_not_that_of_the_parent():
    block = np.ones(2**30, np.uint8)
    code = "from tomoseg.inference.memory import peak_memory_bytes; print(peak_memory_bytes())"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 2**23 < child < 2**29
    assert peak_memory_bytes() > block.nbytes


def test_feature_maps_of_the_guides_network():
    assert activation_bytes(NetworkConfig(channels=(32, 64, 128, 256, 512))) * 256 * 256 == 9 * 32 * 256 * 256 * 4

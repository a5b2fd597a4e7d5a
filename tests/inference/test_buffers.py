"""Memory that is used again, and never while somebody holds it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from tomoseg.inference.buffers import Buffers


def address(array):
    return array.ctypes.data


class TestBuffers:
    def test_what_is_held_is_not_lent_again(self):
        buffers = Buffers()
        first = buffers.take((2, 3))
        assert address(buffers.take((2, 3))) != address(first)

    def test_views_hold_their_memory(self):
        buffers = Buffers()
        whole = buffers.take((2, 4, 3))
        whole[:] = 1
        part, tensor = whole[1][:2].reshape(-1), torch.from_numpy(whole).movedim(2, 0)[1]
        del whole
        for _ in range(3):
            buffers.take((2, 4, 3))[:] = 7
        assert (part == 1).all()
        assert (tensor == 1).all()
        del part
        buffers.take((2, 4, 3))[:] = 7
        assert (tensor == 1).all()

    def test_memory_comes_back(self):
        buffers = Buffers()
        held = [buffers.take((5,)) for _ in range(3)]
        places = {address(array) for array in held}
        held.clear()
        assert {address(array) for array in [buffers.take((5,)) for _ in range(3)]} == places

    def test_another_shape_has_memory_of_its_own(self):
        buffers = Buffers()
        first = buffers.take((5,))
        other = buffers.take((3, 3))
        assert other.shape == (3, 3)
        first[:], other[:] = 1, 2
        assert (first == 1).all()

    def test_threads_share_nothing_that_they_hold(self):
        buffers = Buffers()

        def fill(number):
            for _ in range(200):
                array = buffers.take((40 + number % 2,))
                array[:] = number
                if not np.all(array == number):
                    return False
            return True

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(fill, range(4)))

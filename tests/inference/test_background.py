"""Items made in another thread: their order, errors, how far ahead, and the end."""

import threading
import time

import pytest

from tomoseg.inference.background import prefetch, write_behind


def wait_for(condition):
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_items_come_in_order_from_another_thread():
    made_by = []

    def source():
        for k in range(50):
            made_by.append(threading.current_thread())
            yield k

    assert list(prefetch(source())) == list(range(50))
    assert threading.current_thread() not in made_by
    assert len(set(made_by)) == 1
    assert not made_by[0].is_alive()


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield 1
        raise ValueError("the second")

    items = prefetch(source())
    assert next(items) == 1
    with pytest.raises(ValueError, match="the second"):
        next(items)


@pytest.mark.parametrize("most", [1, 3])
def test_it_is_ahead_by_no_more_than_it_may(most):
    made = []

    def source():
        for k in range(20):
            made.append(k)
            yield k

    items = prefetch(source(), most)
    assert next(items) == 0
    assert wait_for(lambda: len(made) == most + 1)  # and the one that is used
    time.sleep(0.05)
    assert len(made) == most + 1
    assert list(items) == list(range(1, 20))


def test_leaving_early_ends_the_thread():
    ended = []

    def source():
        try:
            yield from range(1000)
        finally:
            ended.append(threading.current_thread())

    items = prefetch(source())
    assert next(items) == 0
    items.close()
    assert wait_for(lambda: ended)
    assert wait_for(lambda: not ended[0].is_alive())


class TestBehind:
    def test_results_come_in_order_from_another_thread(self):
        workers = []

        def work(item):
            workers.append(threading.current_thread())
            return 2 * item

        assert list(write_behind(range(50), work)) == [2 * k for k in range(50)]
        assert set(workers) != {threading.current_thread()}
        assert len(set(workers)) == 1

    def test_the_next_item_is_made_while_one_is_worked_on(self):
        next_is_made = threading.Event()

        def items():
            yield "first"
            next_is_made.set()
            yield "second"

        assert list(write_behind(items(), lambda item: (item, next_is_made.wait(5)))) == [
            ("first", True),
            ("second", True),
        ]

    def test_an_error_of_the_work_is_raised(self):
        with pytest.raises(ZeroDivisionError):
            list(write_behind([1, 0, 2], lambda item: 1 // item))

    def test_an_error_of_the_items_waits_for_the_work(self):
        worked_on = []

        def items():
            yield 1
            raise ValueError("the second")

        with pytest.raises(ValueError, match="the second"):
            list(write_behind(items(), worked_on.append))
        assert worked_on == [1]

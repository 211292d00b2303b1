"""Batches come in order, are read ahead by threads, and a reader's error comes through."""

import threading
import time

import numpy as np
import pytest
import torch

from luna.train.batches import AHEAD, read_ahead

CPU = torch.device("cpu")


class Samples:
    """Samples that hold their own number, and note who read them."""

    def __init__(self, bad: int = -1) -> None:
        self.bad, self.read_by, self.begun = bad, set(), 0

    def __len__(self) -> int:
        return 100

    def read(self, indices):
        self.read_by.add(threading.current_thread())
        self.begun += 1
        if self.bad in indices:
            raise OSError(f"sample {self.bad}")
        time.sleep(0.002 if indices[0] % 2 else 0)  # later batches are ready before earlier ones
        return torch.tensor(indices, dtype=torch.int16), torch.tensor(indices)


def batches(count: int) -> list[np.ndarray]:
    return list(np.arange(4 * count).reshape(count, 4))


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_in_order_whichever_is_read_first(threads):
    samples = Samples()
    found = [hu.tolist() for (hu, _), _ in read_ahead(samples, batches(12), threads, CPU)]
    assert found == [batch.tolist() for batch in batches(12)]
    assert threading.current_thread() not in samples.read_by
    assert len(samples.read_by) <= threads


def test_no_more_is_read_ahead_than_was_promised():
    samples = Samples()
    stream = read_ahead(samples, batches(40), 2, CPU)
    next(stream)
    time.sleep(0.2)
    assert samples.begun <= 2 * AHEAD + 1
    stream.close()


def test_an_error_of_a_reader_comes_to_the_loop_and_ends_the_threads():
    before = threading.active_count()
    stream = read_ahead(Samples(bad=9), batches(6), 2, CPU)
    next(stream)
    next(stream)
    with pytest.raises(OSError, match="sample 9"):
        next(stream)
    assert threading.active_count() == before


def test_waiting_is_counted_and_no_batches_are_no_error():
    class Slow(Samples):
        def read(self, indices):
            time.sleep(0.05)
            return super().read(indices)

    waited = [seconds for _, seconds in read_ahead(Slow(), batches(2), 1, CPU)]
    assert waited[0] > 0.02
    assert list(read_ahead(Samples(), [], 2, CPU)) == []

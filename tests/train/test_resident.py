"""Samples that stay in memory."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from luna.train.resident import Resident, kept_in_memory

CPU = torch.device("cpu")
COUNT, BYTES = 40, 2 * 2 * 3 + 8


class Counted:
    """Samples that count how often each is read."""

    def __init__(self) -> None:
        self.reads = np.zeros(COUNT, dtype=int)

    def __len__(self) -> int:
        return COUNT

    def read(self, indices):
        self.reads[list(indices)] += 1
        rows = torch.tensor(list(indices))
        hu = (rows[:, None, None] * 10 + torch.arange(6).reshape(2, 3)).short()
        return hu, rows % 2


def test_each_sample_is_read_once_and_stays_what_it_was():
    plain, kept = Counted(), Resident(Counted(), CPU)
    kept._samples.reads[:] = 0
    for batch in ([3, 1, 3], [1, 2, 39], [2, 3]):
        for found, wanted in zip(kept.read(batch), plain.read(batch), strict=True):
            assert torch.equal(found, wanted)
    assert kept._samples.reads.tolist() == [int(k in {1, 2, 3, 39}) for k in range(COUNT)]


def test_threads_agree():
    kept, rng = Resident(Counted(), CPU), np.random.default_rng(0)
    batches = [rng.integers(0, COUNT, 8).tolist() for _ in range(200)]
    with ThreadPoolExecutor(4) as pool:
        for batch, (hu, target) in zip(batches, pool.map(kept.read, batches), strict=True):
            assert hu[:, 0, 0].tolist() == [10 * k for k in batch]
            assert target.tolist() == [k % 2 for k in batch]


@pytest.mark.parametrize(("spare", "kept"), [(0, True), (-1, False)])
def test_kept_only_when_all_fit(spare, kept):
    gib = (COUNT * BYTES + spare) / 2**30
    assert isinstance(kept_in_memory(Counted(), gib, CPU), Resident) == kept

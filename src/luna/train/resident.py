"""Training samples that stay in memory once they have been read."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch

from luna.train.batches import sent
from luna.train.tasks import Batch, IntArray, Samples

GIB = 1 << 30


class Resident:
    """The same samples, each read from the cache once, then from memory of the device.

    Reading a sample from the cache is decompressing some 45 blocks, which on two cores costs as
    much as the network; on a GPU nothing else would keep it busy.
    """

    def __init__(self, samples: Samples, device: torch.device) -> None:
        self._samples, self._device = samples, device
        self._known = np.zeros(len(samples), dtype=np.bool_)
        self._lock = threading.Lock()
        hu, target = samples.read([0])
        # Not touched yet, so on a CPU the pages come as samples do.
        self._hu, self._target = (
            torch.empty((len(samples), *t.shape[1:]), dtype=t.dtype, device=device)
            for t in (hu, target)
        )

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, indices: Sequence[int]) -> Batch:
        """Return the samples' own `read`, on the device."""
        wanted = np.asarray(indices)
        # Two threads may read the same sample; they store the same bytes.
        missing = np.unique(wanted[~self._known[wanted]])
        if missing.size:
            hu, target = self._samples.read(missing.tolist())
            rows = sent(torch.from_numpy(missing), self._device)
            self._hu[rows] = sent(hu, self._device)
            self._target[rows] = sent(target, self._device)
            with self._lock:
                self._known[missing] = True
        return _rows(self._hu, wanted), _rows(self._target, wanted)


def _rows(kept: torch.Tensor, rows: IntArray) -> torch.Tensor:
    """Return a copy of some rows; by numpy on a CPU, where torch would start helper threads.

    Theirs would wait, spinning, on the cores that the network needs.
    """
    if kept.device.type == "cpu":
        return torch.from_numpy(kept.numpy()[rows])
    return kept[sent(torch.from_numpy(rows), kept.device)]


def kept_in_memory(samples: Samples, most_gib: float, device: torch.device) -> Samples:
    """Return the samples, kept in the device's memory when they fit in so many GiB."""
    if len(samples) == 0:
        return samples
    size = sum(t.numel() * t.element_size() for t in samples.read([0]))
    return Resident(samples, device) if size * len(samples) <= most_gib * GIB else samples

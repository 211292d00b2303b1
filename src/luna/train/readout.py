"""Losses on their way from the device to the loop, which waits for no GPU to read them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import torch

from luna.train.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a step: its loss over all ranks, and whether one of them is to stop."""

    step: int
    rate: float
    loss: float
    stopping: bool
    speed: Metrics


@dataclass(slots=True)
class Readout:
    """Hands out the values of steps: at once on a CPU, one step late on a GPU.

    To read a value at once is to wait until a GPU has done all that it was asked for, with
    nothing left to do; a step later the value has come, and the GPU is at work meanwhile. All
    ranks read the same values at the same step, so they stop together.
    """

    samples: int
    """Samples of a step, over all ranks."""
    waiting: deque[tuple[int, float, float, torch.Tensor, torch.cuda.Event | None]] = field(
        default_factory=deque
    )
    since: float = field(default_factory=time.perf_counter)

    def send(self, step: int, rate: float, waited_s: float, values: torch.Tensor) -> None:
        """Take the values of a step, (2,) on the device: loss, and above 0 when it is to stop."""
        event = None
        if values.device.type == "cuda":
            values = values.to("cpu", non_blocking=True)  # into pinned memory
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self.waiting.append((step, rate, waited_s, values, event))

    def readings(self, *, rest: bool = False) -> list[Reading]:
        """Return the steps whose values have come; with `rest`, wait for all of them."""
        late = not rest and any(event is not None for *_, event in self.waiting)
        return [self._read() for _ in range(len(self.waiting) - late)]

    def _read(self) -> Reading:
        step, rate, waited_s, values, event = self.waiting.popleft()
        if event is not None:
            event.synchronize()
        loss, stopping = values.tolist()
        now = time.perf_counter()
        took_s, self.since = now - self.since, now
        speed = {"samples_per_s": self.samples / took_s, "data_wait_share": waited_s / took_s}
        return Reading(step, rate, loss, stopping > 0, speed)

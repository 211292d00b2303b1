"""What every block gets, and how a card is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from luna.ct.scan import Scan
from luna.nets.models import Models, load_models
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan

Row = dict[str, Any]


@dataclass
class Given:
    """The device, the sizes, and what was carried here."""

    device: torch.device
    small: bool
    references: Path | None
    book: Path | None

    @cached_property
    def weights(self) -> dict[str, Models]:
        """The networks to look at, by a name."""
        found = {"shipped": load_models()}
        if self.book is not None:
            kinds = ("seg_2020-01-26", "cls_2020-02-06")
            found["book"] = load_models([next(self.book.glob(f"{kind}*")) for kind in kinds])
        return found

    @cached_property
    def scan(self) -> Scan:
        """A synthetic chest, the same on every machine."""
        size = {"size": 96, "slab_mm": 60.0} if self.small else {"size": 512, "slab_mm": 120.0}
        return make_scan(7, PhantomConfig(**size)).scan

    def scan_of(self, slices: int) -> Scan:
        """The same chest, its slices repeated to so many over the same length."""
        index = np.linspace(0, self.scan.shape_irc[0] - 1, slices).round().astype(int)
        x, y, z = self.scan.geometry.spacing_xyz
        thinner = z * self.scan.shape_irc[0] / slices
        return Scan(
            hu=np.ascontiguousarray(self.scan.hu[index]),
            geometry=type(self.scan.geometry)(
                self.scan.geometry.origin_xyz, (x, y, thinner), self.scan.geometry.direction
            ),
            series_uid=self.scan.series_uid,
            provenance=self.scan.provenance,
        )

    def wait(self) -> None:
        """Until the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], times: int = 1) -> float:
        """Seconds of one call, after a first that is not counted."""
        work()
        self.wait()
        start = time.perf_counter()
        for _ in range(times):
            work()
        self.wait()
        return (time.perf_counter() - start) / times

    def peak_gib(self) -> float | None:
        """Most memory of the card since this was asked before."""
        if self.device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        return round(peak, 3)

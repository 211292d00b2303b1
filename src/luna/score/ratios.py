"""Ratios of sums over scans, with intervals from resampling the scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.score.breakdown import band_labels
from luna.score.ranking import Interval, percentile_interval, resample_scans


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """`value` is `part` / `whole`, None for a whole of 0; no interval without resamples."""

    part: float
    whole: float
    value: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """Some shares of the nodules in one band of diameter, by the share's name."""

    name: str
    shares: dict[str, Ratio]


@dataclass(frozen=True, slots=True)
class Resamples:
    """How often each of S scans is drawn in each of B resamples: (B, S)."""

    weights: NDArray[np.int64]

    def ratio(self, part: NDArray[np.float64], whole: NDArray[np.float64]) -> Ratio:
        """Return the ratio of two sums over scans, (S,) each."""
        total = float(whole.sum())
        drawn_whole = self.weights @ whole
        sound = drawn_whole > 0
        drawn = (self.weights @ part)[sound] / drawn_whole[sound]
        return Ratio(
            part=float(part.sum()),
            whole=total,
            value=float(part.sum()) / total if total else None,
            interval=percentile_interval(drawn) if len(drawn) else None,
        )

    def of_items(
        self, part: NDArray[np.float64], whole: NDArray[np.float64], series: NDArray[np.intp]
    ) -> Ratio:
        """Return the ratio of two sums over (N,) items; `series` (N,) is the scan of each."""
        scans = self.weights.shape[1]
        sums = [np.bincount(series, each, minlength=scans) for each in (part, whole)]
        return self.ratio(sums[0].astype(np.float64), sums[1].astype(np.float64))


def draw_scans(scans: int, samples: int, seed: int) -> Resamples:
    """Resample `scans` scans with replacement; for 0 samples no ratio has an interval."""
    drawn = [*resample_scans(np.arange(scans), scans, samples, seed)]
    return Resamples(np.array(drawn, np.int64).reshape(-1, scans))


def shares_by_size(
    drawn: Resamples,
    diameter_mm: NDArray[np.float64],
    series: NDArray[np.intp],
    shares: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[Band, ...]:
    """Return the shares, each part and whole of (N,) nodules, in every band with a nodule."""
    names, labels = band_labels(diameter_mm)
    return tuple(
        Band(
            name=name,
            shares={
                share: drawn.of_items(part[inside], whole[inside], series[inside])
                for share, (part, whole) in shares.items()
            },
        )
        for name in names
        if (inside := labels == name).any()
    )

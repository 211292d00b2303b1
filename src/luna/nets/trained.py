"""The range of nodules and voxels that networks were trained for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Range = tuple[float, float]

LARGEST_MM = 1000.0
"""No nodule, slice or pixel is larger than the patient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedRange:
    """Smallest and largest values in the training data; None where no card states them.

    `diameter_mm` of the nodules, `slice_mm` between slices, `pixel_mm` of the slices' pixels.
    """

    diameter_mm: Range | None = None
    slice_mm: Range | None = None
    pixel_mm: Range | None = None


def overlap(ranges: Iterable[Range | None]) -> Range | None:
    """Return the values that lie in every known range.

    >>> overlap([(3, 30), None, (5, 40)])
    (5, 30)
    """
    known = [r for r in ranges if r is not None]
    if not known:
        return None
    return max(low for low, _ in known), min(high for _, high in known)


def range_of(name: str, value: Sequence[float] | None) -> Range | None:
    """Check a range that a card states, as (low, high) or None; raises ValueError for others."""
    if value is None:
        return None
    if len(value) == 2 and all(type(number) in (int, float) for number in value):
        low, high = float(value[0]), float(value[1])
        if 0 < low <= high <= LARGEST_MM:
            return low, high
    raise ValueError(f"{name} is not a pair of lengths from 0 to {LARGEST_MM:g} mm")

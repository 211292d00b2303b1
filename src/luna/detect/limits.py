"""Say what luna could not see, judge or list in a scan."""

from __future__ import annotations

from collections.abc import Iterator

from luna.ct.scan import Scan
from luna.nets.trained import TrainedRange

THICK_SLICES_MM = 3.0
"""Above this distance between slices, small nodules fall between them (Fleischner 2017)."""

TOLERANCE = 1.1
"""Slices and pixels up to a tenth larger than the largest in training are as good as these."""


MOST_FINDINGS = 1000
"""More findings than this are no patient's: the networks do not fit the scan. Each costs a few
hundredths of a second to measure."""


def number_limits(found: int) -> tuple[str, ...]:
    """Return a sentence when more nodules are found than are measured and listed."""
    if found <= MOST_FINDINGS:
        return ()
    return (
        f"{found:,} places reach the threshold, more than in any patient: the networks do not fit "
        f"this "
        f"scan. The {MOST_FINDINGS:,} most probable are listed; detections.csv holds all.",
    )


def resolution_limits(scan: Scan, trained: TrainedRange) -> tuple[str, ...]:
    """Return a sentence for each size of the voxels that hides nodules or is new to the networks.

    Where the cards do not state a range, only slices that are too thick for any reading count.
    """
    return tuple(_coarse(scan, trained))


def _coarse(scan: Scan, trained: TrainedRange) -> Iterator[str]:
    slice_mm = scan.geometry.spacing_irc[0]
    pixel_mm = max(scan.geometry.spacing_irc[1:])
    if slice_mm > THICK_SLICES_MM:
        yield f"Slices are {slice_mm:g} mm apart: nodules smaller than that can be missed."
    for what, size_mm, known in (
        (f"Slices are {slice_mm:g} mm apart", slice_mm, trained.slice_mm),
        (f"Pixels are {pixel_mm:.2g} mm wide", pixel_mm, trained.pixel_mm),
    ):
        if known is not None and size_mm > TOLERANCE * known[1]:
            yield f"{what}: the networks were trained for {known[0]:g} to {known[1]:g} mm."

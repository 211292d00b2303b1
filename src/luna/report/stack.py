"""The slices of the report's viewer: grey levels of a scan, bounded in number and in bytes.

One level is one byte, decoded in the browser: 40 million voxels are 40 MB there. As JPEG, which
every browser decodes by itself, they take at most 9 MiB, and 12 MiB as text in the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from luna.ct.geometry import Triple
from luna.ct.scan import Scan
from luna.detect.findings import Findings

VOXELS_MAX = 40_000_000
"""A larger scan is cut to the lungs, and coarsened where that is not enough."""

PACKED_MAX = 9 << 20
"""Bytes of all slices as JPEG."""

MARGIN_MM = 20.0
"""What a view that is cut to the lungs shows around them."""

LEVELS_HU = (-1024, -200, 300, 1500)
LEVELS = (0, 100, 225, 255)
"""Grey levels at these HU, and between them in proportion: 8 HU each in lung, 4 in soft tissue,
40 in bone. What is beyond looks like the end."""

QUALITIES = (80, 65, 50, 35, 20, 5)
"""JPEG's, the best first; noisy scans need more bytes."""

SAMPLE = 8
"""From so many slices it is judged how many bytes all will take, …"""

RESERVE = 0.9
"""… which they may miss by a tenth."""

FINER = 1.02
"""Factor between the voxel sizes that are tried."""

Bytes = NDArray[np.uint8]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """The slices, from the feet upwards, as base64 of JPEG.

    Voxel k of the stack, along each axis, covers `step_irc` voxels of the scan from
    `start_irc + k * step_irc` on. `shape_irc` counts the stack's voxels.
    """

    images: list[str]
    start_irc: tuple[int, int, int]
    step_irc: Triple
    shape_irc: tuple[int, int, int]
    is_cut: bool

    @property
    def is_whole(self) -> bool:
        """Whether every voxel of the scan has a voxel of its own."""
        return self.step_irc == (1, 1, 1) and not self.is_cut


def pack(scan: Scan, findings: Findings) -> Stack:
    """Pack a scan for the viewer, at the best quality that its bounds allow."""
    box = region(scan, findings)
    i, r, c = box
    step, rows, columns = grid(
        (i.stop - i.start, r.stop - r.start, c.stop - c.start), scan.geometry.spacing_irc
    )
    starts = range(i.start, i.stop, step)

    def levels(start: int) -> Bytes:
        part = scan.hu[start : min(start + step, i.stop), r, c]
        return _reduced(part, rows, columns)

    quality = _quality(levels, starts)
    return Stack(
        images=[base64.b64encode(_jpeg(levels(s), quality)).decode("ascii") for s in starts],
        start_irc=(i.start, r.start, c.start),
        step_irc=(step, (r.stop - r.start) / rows, (c.stop - c.start) / columns),
        shape_irc=(len(starts), rows, columns),
        is_cut=box != _whole(scan),
    )


def region(scan: Scan, findings: Findings) -> Box:
    """Return the part of a scan that is shown: all of it, or of a large one what is around the
    lungs and everything found.

    Where luna could not judge all of a scan, nothing is cut away.
    """
    masks = [o.mask for o in findings.opacities] + [f.mask for f in findings.findings]
    if prod(scan.shape_irc) <= VOXELS_MAX or findings.limits or findings.lungs_box is None:
        return _whole(scan)
    sides = []
    for axis, n in enumerate(scan.shape_irc):
        parts = [box[axis] for box in (findings.lungs_box, *(mask.slices for mask in masks))]
        margin = ceil(MARGIN_MM / scan.geometry.spacing_irc[axis])
        low = min(part.start for part in parts) - margin
        high = max(part.stop for part in parts) + margin
        sides.append(slice(max(low, 0), min(high, n)))
    return sides[0], sides[1], sides[2]


def _whole(scan: Scan) -> Box:
    i, r, c = scan.shape_irc
    return slice(0, i), slice(0, r), slice(0, c)


def grid(shape_irc: tuple[int, int, int], spacing_irc: Triple) -> tuple[int, int, int]:
    """Return how many slices become one, and how many rows and columns remain.

    The finest axes are coarsened first, so that voxels come nearer to cubes.

    >>> grid((300, 380, 280), (1.25, 0.7, 0.7)), grid((1200, 512, 512), (0.3, 0.7, 0.7))
    ((1, 380, 280), (4, 336, 336))
    """
    slices, rows, columns = shape_irc
    target_mm = min(spacing_irc)
    while True:
        step = max(1, round(target_mm / spacing_irc[0]))
        kept = [
            max(1, round(n * min(1.0, mm / target_mm)))
            for n, mm in zip((rows, columns), spacing_irc[1:], strict=True)
        ]
        if ceil(slices / step) * prod(kept) <= VOXELS_MAX:
            return step, kept[0], kept[1]
        target_mm *= FINER


def levels_of(hu: NDArray[np.floating]) -> Bytes:
    """Return the grey levels of HU."""
    return np.asarray(np.rint(np.interp(hu, LEVELS_HU, LEVELS)), dtype=np.uint8)


def _reduced(part: NDArray[np.int16], rows: int, columns: int) -> Bytes:
    """The mean of some slices, reduced to some rows and columns, as levels."""
    mean = part.mean(axis=0, dtype=np.float32) if len(part) > 1 else part[0].astype(np.float32)
    if mean.shape != (rows, columns):
        image = Image.fromarray(mean).resize((columns, rows), Image.Resampling.BOX)
        mean = np.asarray(image)
    return levels_of(mean)


def _quality(levels: Callable[[int], Bytes], starts: Sequence[int]) -> int:
    """The best quality at which all slices fit, judged by a few."""
    sample = [levels(start) for start in starts[:: ceil(len(starts) / SAMPLE)]]
    for quality in QUALITIES:
        packed = sum(len(_jpeg(image, quality)) for image in sample)
        if packed / len(sample) * len(starts) <= RESERVE * PACKED_MAX:
            break
    return quality


def _jpeg(levels: Bytes, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()

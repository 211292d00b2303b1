"""How a scan blurs what it shows, measured from the edges of its lungs.

A lung's surface is sharper than any scanner. Along a row or column it appears as a step whose
width comes from the blur in the plane and, where the surface leans, from the blur along the
index axis: width² = in_plane² + (lean · through)², with the lean as the tangent. A line through
the widths of many edges over lean² has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.lungs.find import Lungs
from luna.ct.scan import Scan

Floats = NDArray[np.float64]

SLICES = 24
"""Slices that are looked at, evenly through the lungs: each shows hundreds of edges."""

REACH_MM, STEP_MM = 6.0, 0.2
"""Half length and step of a profile across an edge."""

PLATEAU_MM = 3.0
"""From here on, a profile has to be lung on one side and soft tissue on the other."""

LUNG_HU, TISSUE_HU = (-1000.0, -680.0), (-140.0, 160.0)
ROUGH_HU = 90.0
"""A plateau that varies more than this has a vessel, a rib or a second edge in it."""

LEANS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
"""Bounds of the bins of the tangent of an edge's lean."""

EDGES_LEAST = 40
"""Fewer edges in a bin say nothing."""

TYPICAL_MM = 0.6
"""Blur of a standard kernel, for a scan that shows no clean edge."""

LEAST_MM, MOST_MM = 0.25, 1.2
SLICE_BOX = 12**-0.5
"""Standard deviation of a box one slice thick: the least blur along the index axis."""


@dataclass(frozen=True, slots=True)
class Optics:
    """Standard deviations in mm of a scan's blur, and the edges that they were measured from."""

    in_plane_mm: float
    through_mm: float
    edges: int


def measure_optics(scan: Scan, lungs: Lungs) -> Optics:
    """Measure the blur of a scan; where it shows too few clean edges, that of a usual kernel."""
    leans, profiles = _edges(scan, lungs)
    slice_mm = scan.geometry.spacing_irc[0]
    box_mm = SLICE_BOX * slice_mm
    squares, widths, weights = [], [], []
    for low, high in pairwise(LEANS):
        chosen = (leans >= low) & (leans < high)
        if chosen.sum() >= EDGES_LEAST:
            squares.append(float((leans[chosen] ** 2).mean()))
            widths.append(_width_mm(profiles[chosen]) ** 2)
            weights.append(float(chosen.sum()))
    if not squares or squares[0] > LEANS[1] ** 2:
        return Optics(TYPICAL_MM, max(box_mm, TYPICAL_MM), len(leans))
    plane = np.sqrt(widths[0])
    through = box_mm
    if len(squares) > 2:
        slope, start = np.polyfit(squares, widths, 1, w=np.sqrt(weights))
        plane = np.sqrt(max(start, LEAST_MM**2))
        through = np.sqrt(max(slope, 0))
    # Rounded: the last bits of a fit differ between machines, and the bytes must not.
    return Optics(
        round(float(np.clip(plane, LEAST_MM, MOST_MM)), 2),
        round(float(np.clip(through, box_mm, 2 * max(box_mm, TYPICAL_MM))), 2),
        len(leans),
    )


def _edges(scan: Scan, lungs: Lungs) -> tuple[Floats, Floats]:
    """Lean (N,) and normalised profile (N, P) of every clean edge in some slices."""
    box = lungs.box()
    first, last = box[0].start + 2, box[0].stop - 3
    found = [
        _edges_in(scan, box[1], box[2], int(k))
        for k in np.unique(np.linspace(first, max(first, last), SLICES).astype(int))
        if 1 <= k < len(scan.hu) - 1
    ]
    if not found:
        return np.zeros(0), np.zeros((0, 1))
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def _edges_in(scan: Scan, rows: slice, columns: slice, index: int) -> tuple[Floats, Floats]:
    slice_mm, row_mm, column_mm = scan.geometry.spacing_irc
    slab = scan.hu[index - 1 : index + 2, rows, columns].astype(np.float32)
    smooth = ndimage.gaussian_filter(slab, (0, 1.5 / row_mm, 1.5 / column_mm))
    up = (smooth[2] - smooth[0]) / (2 * slice_mm)
    down, right = np.gradient(smooth[1], row_mm, column_mm)
    steep = np.hypot(down, right)
    middle = np.abs(smooth[1] + 420) < 60
    places = np.argwhere(middle & (steep > 80))[::3]
    r, c = places.T
    lean = np.abs(up[r, c]) / steep[r, c]
    t = np.arange(-REACH_MM, REACH_MM + STEP_MM / 2, STEP_MM)
    way = np.stack([down[r, c] / row_mm, right[r, c] / column_mm], 1) / steep[r, c, None]
    at = places[:, None, :] + t[None, :, None] * way[:, None, :]
    # A cubic spline keeps the sharpness; a linear one would add its own blur.
    profile = ndimage.map_coordinates(
        slab[1], at.reshape(-1, 2).T, order=3, mode="nearest"
    ).reshape(len(places), len(t))
    return _clean(lean.astype(np.float64), profile.astype(np.float64), t)


def _clean(lean: Floats, profile: Floats, t: Floats) -> tuple[Floats, Floats]:
    """Keep the profiles from lung to soft tissue; scale them to 0 … 1."""
    air, tissue = profile[:, t < -PLATEAU_MM], profile[:, t > PLATEAU_MM]
    low, high = air.mean(axis=1), tissue.mean(axis=1)
    good = (low > LUNG_HU[0]) & (low < LUNG_HU[1]) & (high > TISSUE_HU[0]) & (high < TISSUE_HU[1])
    good &= (air.std(axis=1) < ROUGH_HU) & (tissue.std(axis=1) < ROUGH_HU)
    scaled = (profile[good] - low[good, None]) / (high - low)[good, None]
    return lean[good], scaled


def _width_mm(profiles: Floats) -> float:
    """Return the blur's standard deviation, of profiles that are aligned half way up."""
    t = np.arange(profiles.shape[1]) * STEP_MM
    wide = int(1.0 / STEP_MM)
    smooth = ndimage.uniform_filter1d(profiles, wide, axis=1)
    middle = profiles.shape[1] // 2
    window = slice(middle - 2 * wide, middle + 2 * wide)
    cross = window.start + np.argmin(np.abs(smooth[:, window] - 0.5), axis=1)
    reach = int(PLATEAU_MM / STEP_MM)
    picks = np.clip(cross[:, None] + np.arange(-reach, reach + 1), 0, profiles.shape[1] - 1)
    mean = np.median(np.take_along_axis(profiles, picks, axis=1), axis=0)
    rising = np.maximum.accumulate(mean)
    low, high = np.interp((0.1587, 0.8413), rising, t[: len(rising)])
    return float((high - low) / 2)

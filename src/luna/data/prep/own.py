"""Choose candidates in the lungs of a scan without a table: vessels, walls, and the like."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from luna.ct.geometry import FloatArray
from luna.ct.lungs.find import find_lungs
from luna.ct.scan import Scan

OWN_FORMAT = 1
"""Increased when the choice of places changes."""

MOST = 300
"""Places of one scan; LUNA16 lists 620 on average, most of them of no use to a classifier."""

DENSE_HU = -600.0
"""The HU of something in the lung, at the coarse scale of the lungs' mask, such as a vessel of 2
mm."""

APART_VOX = 5
"""Side of the box, in coarse voxels of about 2.5 mm, in which a place is the densest."""

MARGIN_MM = 5.0
"""No place is nearer to a nodule's border: it may show a part of it."""


def lung_candidates(scan: Scan, nodule_irc: FloatArray, diameter_mm: FloatArray) -> FloatArray:
    """Return the places (M, 3) of dense things in the lungs that are no nodule, in voxels.

    They are the densest places of their surroundings, evenly chosen from feet to head, and the
    same at every call. Raises InputError when the scan shows no lungs.
    """
    lungs = find_lungs(scan)
    inside = (lungs.labels > 0) & (lungs.hu > DENSE_HU)
    densest = ndimage.maximum_filter(lungs.hu, size=APART_VOX) == lungs.hu
    coarse = np.argwhere(inside & densest)
    places = (coarse + 0.5) * np.array(lungs.factor_irc) - 0.5
    apart_mm = (places[:, None] - nodule_irc[None]) * np.array(scan.geometry.spacing_irc)
    gap_mm = np.linalg.norm(apart_mm, axis=2) - diameter_mm / 2  # (M, N)
    places = places[(gap_mm > MARGIN_MM).all(axis=1)]
    chosen = np.linspace(0, len(places) - 1, min(MOST, len(places))).round().astype(int)
    return np.asarray(places[chosen], dtype=np.float64)

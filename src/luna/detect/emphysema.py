"""Measure low attenuation, a sign of emphysema: the share of the lungs below -950 HU.

Source: LAA-950, a usual threshold (Gevenois et al., Am J Respir Crit Care Med 1996, 154:187). Noise
and sharp kernels raise it, an incomplete breath lowers it, so that it is no diagnosis.
"""

from __future__ import annotations

import numpy as np

from luna.ct.lungs.find import Lungs
from luna.ct.lungs.sides import AERATED_HU, LEFT, RIGHT
from luna.ct.scan import Scan

EMPHYSEMA_HU = -950


def low_attenuation(scan: Scan, lungs: Lungs) -> tuple[float | None, float | None]:
    """The share of the (right, left) lung's aerated voxels below -950 HU; None without a lung."""
    thin, all_ = {RIGHT: 0, LEFT: 0}, {RIGHT: 0, LEFT: 0}
    fi, fr, fc = lungs.factor_irc
    _, rows, columns = scan.shape_irc
    # Slab by slab: the labels on the scan's own voxels would be another volume in memory.
    for k, coarse in enumerate(lungs.labels):
        hu = scan.hu[k * fi : (k + 1) * fi]
        labels = np.repeat(np.repeat(coarse, fr, axis=0), fc, axis=1)[:rows, :columns]
        for side in thin:
            values = hu[:, labels == side]
            all_[side] += int((values < AERATED_HU).sum())
            thin[side] += int((values < EMPHYSEMA_HU).sum())
    right, left = (thin[s] / all_[s] if all_[s] else None for s in (RIGHT, LEFT))
    return right, left

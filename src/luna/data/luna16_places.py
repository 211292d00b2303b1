"""Which annotated places lie in their volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray
from luna.data.luna16 import ANNOTATIONS, CANDIDATES, OLD_CANDIDATES, Luna16
from luna.data.tables import Notice, notice


def inside(irc: FloatArray, shape_irc: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Which places (N, 3) round to a voxel of the volume."""
    nearest = np.rint(irc)
    return np.asarray(((nearest >= 0) & (nearest < np.array(shape_irc))).all(axis=1))


def outside_notices(
    data: Luna16, nodules: NDArray[np.int64], candidates: NDArray[np.int64]
) -> tuple[Notice, ...]:
    """Notices of the nodules and candidates, by row, that lie off their volume."""
    old = not (data.root / CANDIDATES).exists()
    marks = data.candidates.is_mark[candidates]
    lines = data.candidates.line[candidates]
    what = "outside their volume, or of such a nodule"
    found = notice(
        "annotations outside their volume", Path(ANNOTATIONS), data.nodules.line[nodules]
    ) + notice(f"candidates {what}", Path(OLD_CANDIDATES if old else CANDIDATES), lines[~marks])
    if data.marks_file is not None:
        found += notice(f"marks {what}", data.marks_file, lines[marks])
    return found

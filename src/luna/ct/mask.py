"""Masks: bool arrays on a scan's grid, whole or as a box cut from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BoxMask:
    """A mask in a box of a scan; False everywhere outside the box.

    `voxels` is bool (index, row, column); its voxel (0, 0, 0) is `start_irc` of the scan.
    """

    start_irc: tuple[int, int, int]
    voxels: Mask

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Where the box lies in the scan's array."""
        i, r, c = (slice(a, a + n) for a, n in zip(self.start_irc, self.voxels.shape, strict=True))
        return i, r, c

    def at_border(self, shape_irc: tuple[int, int, int]) -> bool:
        """Whether it has voxels at the border of a scan of this shape, which may cut it."""
        at = np.argwhere(self.voxels) + self.start_irc
        return bool(((at == 0) | (at == np.array(shape_irc) - 1)).any())

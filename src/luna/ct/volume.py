"""A CT volume on the grid of its own file, and how numbers become Hounsfield units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import Geometry
from luna.ct.scan import HuArray, Instance
from luna.run.errors import InputError

MIN_HU = -1024
"""Air as scanners store it; whatever lies below is padding outside the field of view."""

MIN_SPACING_MM, MAX_SPACING_MM = 0.05, 20.0
"""No CT voxel is finer than the first (a spacing in metres is) or coarser than the second."""

MAX_VOXELS = 2**31
"""4 GiB of int16: 8,192 slices of 512×512. A header that asks for more is taken as damaged."""

MAX_ROWS = 4096
"""Of a slice, and so its columns; scanners make 512 or 1024. A slice is held in memory several
times over while it is read, so it is bounded apart from the volume."""

NO_AIR_HU = -500
"""A chest CT holds air; where nothing is below this, the numbers are no Hounsfield units."""

FAR_BELOW_AIR_HU = -1224
"""Noise and streaks make values a little below air; padding is a few single values."""

PADDING_VALUES = 4
"""How many values far below air are taken for padding of one scan (slices may differ)."""

STRAY_FRACTION = 0.1
"""Streaks and the noise of sharp kernels reach far below air in fewer voxels than this; with
swapped bytes, or a rescale applied twice, half of the volume does."""

METAL_HU, METAL_FRACTION = 4095, 0.1
"""Nothing but metal is above the first; it never fills the second of a volume."""


NOT_IN_UID = re.compile(r"[^\w.\-]+")
"""What a file name may hold and a series UID in a table or a file name should not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """The result of a format's reader, with axes and geometry as in the file.

    `hu` is (index, row, column) int16 with column the file's fastest axis, as SimpleITK's
    arrays. `series_uid` is empty where the format has none; the other fields are as in
    Provenance, with `image_numbers` and `instances` in the file's index order.
    """

    hu: HuArray
    geometry: Geometry
    format: str
    padding_voxels: int
    series_uid: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    phi: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    image_numbers: tuple[int, ...] = ()
    instances: tuple[Instance, ...] = ()


def as_series_uid(name: str) -> str:
    """Return a name as a series UID that is safe in tables, paths and spreadsheets.

    >>> as_series_uid("1.2.840.77"), as_series_uid("=1+1 (2)")
    ('1.2.840.77', '1_1_2')
    """
    return NOT_IN_UID.sub("_", name).rstrip("_").lstrip("_-.") or "scan"


def check_grid(size_irc: tuple[int, ...], spacing_xyz: tuple[float, ...]) -> None:
    """Raise InputError unless the grid is 3-D, not empty, not absurd and in millimetres."""
    if len(size_irc) != 3:
        raise InputError(f"the image is {len(size_irc)}-D, a CT volume is 3-D")
    if min(size_irc) < 1:
        raise InputError("the volume has no voxels", why=f"size {size_irc}")
    if size_irc[0] * size_irc[1] * size_irc[2] > MAX_VOXELS:
        raise InputError(
            "the volume is larger than any CT scan",
            why=f"{' × '.join(map(str, size_irc))} voxels",
        )
    if max(size_irc[1:]) > MAX_ROWS:
        raise InputError(
            "a slice is larger than any CT scan",
            why=f"{size_irc[1]} × {size_irc[2]} voxels, at most {MAX_ROWS} × {MAX_ROWS} are read",
        )
    bad = [v for v in spacing_xyz if not MIN_SPACING_MM <= v <= MAX_SPACING_MM]
    if bad or len(spacing_xyz) != 3:
        raise InputError(
            "the voxel spacing is not plausible for CT in millimetres",
            why=f"spacing {', '.join(f'{v:g}' for v in spacing_xyz)}",
            hint=f"each must be between {MIN_SPACING_MM:g} and {MAX_SPACING_MM:g} mm",
        )


class HuBuilder:
    """Converter of stored numbers to int16 HU, slice by slice, that checks the whole at the end.

    One int16 volume and a few arrays of one slice are alive at a time: 600×512×512 takes
    315 MB, whatever the stored type.
    """

    def __init__(self, size_irc: tuple[int, int, int]) -> None:
        self.hu: HuArray = np.empty(size_irc, dtype=np.int16)
        self.padding_voxels = 0
        self._far_below: NDArray[np.int64] = np.zeros(2**15 + FAR_BELOW_AIR_HU, dtype=np.int64)
        self._above_metal = 0

    def put(
        self,
        index: int,
        values: NDArray[np.generic],
        *,
        slope: float = 1.0,
        intercept: float = 0.0,
        padding: NDArray[np.bool_] | None = None,
    ) -> None:
        """Fill one slice from stored values (row, column) of any real type.

        HU = value × slope + intercept in float64, rounded half to even. `padding` marks
        voxels that the file itself calls padding. Raises InputError for numbers that are
        not finite or do not fit int16.
        """
        wide = self._rescaled(index, values, slope, intercept)
        if padding is not None:
            wide[padding] = MIN_HU
            self.padding_voxels += int(np.count_nonzero(padding))
        low, high = wide.min(), wide.max()
        if not (low >= -(2**15) and high < 2**15):
            raise InputError(
                "the values can't be Hounsfield units",
                why=f"slice {index} holds values from {low:g} to {high:g}",
            )
        if low < MIN_HU:
            below = wide < MIN_HU
            far = wide[wide < FAR_BELOW_AIR_HU].astype(np.int64) + 2**15
            self._far_below += np.bincount(far, minlength=self._far_below.size)
            self.padding_voxels += int(np.count_nonzero(below))
            wide[below] = MIN_HU
        if high > METAL_HU:
            self._above_metal += int(np.count_nonzero(wide > METAL_HU))
        self.hu[index] = wide

    def _rescaled(
        self, index: int, values: NDArray[np.generic], slope: float, intercept: float
    ) -> NDArray[np.int32] | NDArray[np.float64]:
        small = values.dtype.kind in "iu" and values.dtype.itemsize <= 2
        if small and slope == 1 and intercept == int(intercept) and abs(intercept) < 2**30:
            return values.astype(np.int32) + np.int32(intercept)
        with np.errstate(over="ignore", invalid="ignore"):  # judged below, not warned of
            return self._exact(index, values.astype(np.float64), slope, intercept)

    def _exact(
        self, index: int, exact: NDArray[np.float64], slope: float, intercept: float
    ) -> NDArray[np.float64]:
        if not np.isfinite(exact).all():
            count = exact.size - int(np.count_nonzero(np.isfinite(exact)))
            raise InputError(
                "the volume holds numbers that are not finite",
                why=f"{count} NaN or infinite voxels in slice {index}",
            )
        return np.rint(exact * slope + intercept)

    def finish(self, slices: int | None = None) -> HuArray:
        """Return the first `slices` slices. Raises InputError when they cannot be in HU."""
        self.hu = self.hu[:slices]
        low, high = int(self.hu.min()), int(self.hu.max())
        if low == high:
            self._refuse(f"every voxel is {low}")
        if low > NO_AIR_HU:
            self._refuse(
                f"the lowest value is {low}, so there is no air in the volume; "
                "was the rescale intercept lost?"
            )
        stray = int(self._far_below.sum() - np.sort(self._far_below)[-PADDING_VALUES:].sum())
        if stray > STRAY_FRACTION * self.hu.size:
            self._refuse(
                f"{stray / self.hu.size:.0%} of the voxels lie far below air; wrong byte order, "
                "or a rescale applied twice?"
            )
        if self._above_metal > METAL_FRACTION * self.hu.size:
            self._refuse(f"{self._above_metal / self.hu.size:.0%} of the voxels are above metal")
        return self.hu

    def _refuse(self, why: str) -> None:
        raise InputError(
            "the values can't be Hounsfield units",
            why=why,
            hint="export the scan again as CT in Hounsfield units",
        )

"""The only code that maps voxels to patient space and back.

Voxel coordinates are (index, row, column), continuous, with integers at voxel centres.
Patient coordinates are (x, y, z) in LPS millimetres: x grows to the patient's left,
y to the back, z to the head, as in DICOM (PS3.3 C.7.6.2.1.1) and ITK.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from luna.run.errors import InputError

Triple = tuple[float, float, float]
FloatArray = NDArray[np.float64]

IDENTITY_DIRECTION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

# Headers print direction cosines with 4 to 6 decimals; a larger error is a different
# direction, and at 1e-3 a corner of a 400 mm field would already be 0.4 mm off.
ORTHONORMAL_TOLERANCE = 1e-3

LARGEST_MM = 1e6
"""No patient lies a kilometre from the origin; products of such numbers stay finite and exact."""


@dataclass(frozen=True)
class Geometry:
    """Where a voxel grid lies in the patient.

    `origin_xyz` is the LPS position of voxel (0, 0, 0) in mm, `spacing_xyz` the voxel size
    in mm along column, row and index axis, `direction` the 3×3 matrix row by row as ITK
    writes it: its columns are the LPS directions of the column, row and index axis.

    >>> g = Geometry(origin_xyz=(-100.0, -50.0, 7.0), spacing_xyz=(0.5, 0.5, 2.0))
    >>> g.xyz_from_irc((1, 0, 10)).tolist()  # one slice up, ten columns to the left side
    [-95.0, -50.0, 9.0]

    Raises InputError when a number is not finite or absurdly large, a spacing is not
    positive, or the direction is not orthonormal within 1e-3.
    """

    origin_xyz: Triple
    spacing_xyz: Triple
    direction: tuple[float, ...] = IDENTITY_DIRECTION

    def __post_init__(self) -> None:
        for name in ("origin_xyz", "spacing_xyz", "direction"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        numbers = np.array(self.origin_xyz + self.spacing_xyz + self.direction)
        if numbers.size != 15 or not np.isfinite(numbers).all():
            raise InputError("the geometry has missing or non-finite numbers", why=str(self))
        if np.abs(numbers).max() > LARGEST_MM:
            raise InputError("the geometry has numbers beyond any scanner", why=str(self))
        if min(self.spacing_xyz) <= 0:
            raise InputError("the voxel spacing is not positive", why=f"spacing {self.spacing_xyz}")
        gram = self.matrix.T @ self.matrix
        if np.abs(gram - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
            raise InputError(
                "the direction matrix is not orthonormal", why=f"direction {self.direction}"
            )

    @cached_property
    def matrix(self) -> FloatArray:
        """Return the direction as (3, 3) float64: LPS row by grid axis (column, row, index)."""
        return np.array(self.direction, dtype=np.float64).reshape(3, 3)

    @cached_property
    def _affine(self) -> FloatArray:
        return np.multiply(self.matrix, self.spacing_xyz)

    @cached_property
    def _inverse(self) -> FloatArray:
        return np.asarray(np.linalg.inv(self._affine), dtype=np.float64)

    def xyz_from_irc(self, irc: ArrayLike) -> FloatArray:
        """Return LPS mm (..., 3) of voxel coordinates (..., 3)."""
        cri = np.asarray(irc, dtype=np.float64)[..., ::-1]
        return np.asarray(cri @ self._affine.T + np.array(self.origin_xyz), dtype=np.float64)

    def irc_from_xyz(self, xyz: ArrayLike) -> FloatArray:
        """Return voxel coordinates (..., 3), not rounded, of LPS mm (..., 3)."""
        offset = np.asarray(xyz, dtype=np.float64) - np.array(self.origin_xyz)
        return np.asarray((offset @ self._inverse.T)[..., ::-1], dtype=np.float64)

    @property
    def spacing_irc(self) -> Triple:
        """Return the voxel size in mm along (index, row, column)."""
        x, y, z = self.spacing_xyz
        return (z, y, x)

    @property
    def voxel_mm3(self) -> float:
        """Return the volume of one voxel in mm³."""
        x, y, z = self.spacing_xyz
        return x * y * z

    def shifted(self, start_irc: ArrayLike) -> Geometry:
        """Return the geometry of the sub-grid whose voxel (0, 0, 0) is `start_irc` of this one."""
        x, y, z = self.xyz_from_irc(start_irc).tolist()
        return Geometry((x, y, z), self.spacing_xyz, self.direction)

    def axis_letters(self) -> tuple[tuple[str, str], tuple[str, str], tuple[str, str]]:
        """Return anatomical letters at the (low, high) end of the index, row and column axis.

        >>> Geometry((0, 0, 0), (1, 1, 1)).axis_letters()
        (('F', 'H'), ('A', 'P'), ('R', 'L'))
        """
        ends = (("R", "L"), ("A", "P"), ("F", "H"))
        letters = []
        for axis in (2, 1, 0):  # index, row, column are matrix columns 2, 1, 0
            main = int(np.argmax(np.abs(self.matrix[:, axis])))
            low, high = ends[main]
            letters.append((low, high) if self.matrix[main, axis] > 0 else (high, low))
        return letters[0], letters[1], letters[2]


def ras_from_lps(xyz: ArrayLike) -> FloatArray:
    """Convert LPS mm to RAS mm, as NIfTI viewers show it: x and y change sign."""
    return np.multiply(np.asarray(xyz, dtype=np.float64), (-1.0, -1.0, 1.0))

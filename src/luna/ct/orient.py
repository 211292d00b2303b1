"""Flips and permutations of axes, exact, between a file's grid and the patient's main axes.

Codes are ITK's: three letters for the column, row and index axis, each the side it grows
towards. A scan in luna has the code LPS: columns grow to the left, rows to the back, slices
to the head. Nothing is interpolated; an oblique grid stays oblique.
"""

from __future__ import annotations

from itertools import permutations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import Geometry

Voxel = TypeVar("Voxel", bound=np.generic)

TOWARDS = ("LR", "PA", "SI")
"""Letters of the LPS axes x, y, z: towards growing and towards falling coordinates."""


def orientation_code(geometry: Geometry) -> str:
    """Return the three letters of a grid, as `sitk.DICOMOrientImageFilter` names it.

    >>> orientation_code(Geometry((0, 0, 0), (1, 1, 1), (0, 1, 0, 1, 0, 0, 0, 0, -1)))
    'PLI'
    """
    matrix = np.abs(geometry.matrix)
    axes = max(permutations(range(3)), key=lambda a: sum(matrix[a[j], j] for j in range(3)))
    return "".join(
        TOWARDS[axis][0 if geometry.matrix[axis, j] > 0 else 1] for j, axis in enumerate(axes)
    )


def to_patient_axes(voxels: NDArray[Voxel], geometry: Geometry) -> tuple[NDArray[Voxel], Geometry]:
    """Return a view of the voxels, and the geometry, turned to the code LPS."""
    axes, signs = _axes_and_signs(orientation_code(geometry))
    order = [axes.index(axis) for axis in range(3)]  # the grid axis that becomes x, y, z
    flipped = [signs[j] < 0 for j in order]
    turned = voxels.transpose([2 - j for j in reversed(order)])
    turned = np.flip(turned, axis=tuple(2 - axis for axis in range(3) if flipped[axis]))
    corner = [voxels.shape[2 - j] - 1 if signs[j] < 0 else 0 for j in range(3)]
    return turned, _turned(geometry, order, flipped, corner)


def to_stored_axes(
    voxels: NDArray[Voxel], geometry: Geometry, code: str
) -> tuple[NDArray[Voxel], Geometry]:
    """Undo `to_patient_axes` for a grid that had `code`."""
    axes, signs = _axes_and_signs(code)
    flipped = [sign < 0 for sign in signs]
    turned = voxels.transpose([2 - axes[j] for j in (2, 1, 0)])
    turned = np.flip(turned, tuple(2 - j for j in range(3) if flipped[j]))
    corner = [0, 0, 0]
    for j, axis in enumerate(axes):
        corner[axis] = voxels.shape[2 - axis] - 1 if flipped[j] else 0
    return turned, _turned(geometry, list(axes), flipped, corner)


def _axes_and_signs(code: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    axes = tuple(next(a for a in range(3) if letter in TOWARDS[a]) for letter in code)
    signs = tuple(
        1 if TOWARDS[a][0] == letter else -1 for a, letter in zip(axes, code, strict=True)
    )
    return axes, signs


def _turned(
    geometry: Geometry, order: list[int], flipped: list[bool], corner_cri: list[int]
) -> Geometry:
    """Return the geometry whose axis k is axis `order[k]`, reversed where `flipped[k]`."""
    if order == [0, 1, 2] and not any(flipped):
        return geometry
    matrix = geometry.matrix[:, order] * np.where(flipped, -1.0, 1.0) + 0.0  # no -0.0
    x, y, z = geometry.xyz_from_irc(corner_cri[::-1]).tolist()
    a, b, c = (geometry.spacing_xyz[j] for j in order)
    return Geometry((x, y, z), (a, b, c), tuple(matrix.ravel().tolist()))

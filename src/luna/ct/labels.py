"""Label volumes that lie on the grid of a scan, from files that other programs wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import Geometry
from luna.ct.orient import to_patient_axes
from luna.ct.scan import Scan
from luna.ct.volume import check_grid
from luna.run.errors import InputError, naming

Labels = NDArray[np.int32]

SAME_PLACE_VOX = 0.1
"""Two grids are one when their corners differ by less: programs round what they write."""

MOST_LABELS = 10_000
"""Above this the numbers are no labels."""


def read_labels(path: Path, scan: Scan) -> Labels:
    """Read whole numbers >= 0 as (index, row, column) labels on the scan's grid.

    The file (NIfTI, NRRD or MetaImage) has the scan's voxels, or a box cut out of them; outside
    the box the label is 0. Raises InputError when it is damaged, holds anything else than
    labels, or lies on another grid.
    """
    values, geometry = _read(path)
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise InputError("the values are not labels", file=path, why="they are not whole numbers")
    if values.min() < 0 or values.max() > MOST_LABELS:
        raise InputError(
            "the values are not labels", file=path, why=f"from {values.min()} to {values.max()}"
        )
    out = np.zeros(scan.shape_irc, dtype=np.int32)
    paste_labels(out, *to_patient_axes(values, geometry), scan, path)
    return out


def paste_labels(
    out: NDArray[Any], labels: NDArray[Any], geometry: Geometry, scan: Scan, path: Path
) -> None:
    """Write the labels of a box of the scan's grid, in the patient's axes, into `out`.

    Where the box has 0, `out` stays as it is. Raises InputError, naming `path`, when the box
    lies on another grid or has labels beyond the scan.
    """
    start = _start(labels.shape, geometry, scan, path)
    low = np.maximum(start, 0)
    high = np.maximum(np.minimum(start + np.array(labels.shape), scan.shape_irc), low)
    into = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    taken = tuple(slice(int(a), int(b)) for a, b in zip(low - start, high - start, strict=True))
    inside = labels[taken]
    if np.count_nonzero(labels) != np.count_nonzero(inside):
        raise InputError("the labels reach beyond the scan", file=path, hint=OTHER_SCAN)
    out[into][inside > 0] = inside[inside > 0]


OTHER_SCAN = "are they of this scan? luna does not resample labels"


def _read(path: Path) -> tuple[NDArray[np.generic], Geometry]:
    import SimpleITK as sitk

    try:
        image: Any = sitk.ReadImage(str(path))  # Any: ITK's getters carry no types
    except RuntimeError as error:
        raise InputError(
            "the label volume cannot be read", file=path, why=str(error).splitlines()[-1]
        ) from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError("the label volume has several values per voxel", file=path)
    with naming(path):
        check_grid(image.GetSize()[::-1], image.GetSpacing())
    return (
        sitk.GetArrayFromImage(image),
        Geometry(image.GetOrigin(), image.GetSpacing(), image.GetDirection()),
    )


def _start(shape: tuple[int, ...], geometry: Geometry, scan: Scan, path: Path) -> NDArray[np.int64]:
    """Return the scan's voxel at which the labels' first voxel lies."""
    corners = np.array([[0, 0, 0], *(np.eye(3) * (np.array(shape) - 1)).tolist()])
    found = scan.geometry.irc_from_xyz(geometry.xyz_from_irc(corners))
    start = np.rint(found[0])
    off = np.abs(found - (corners + start)).max()
    if off > SAME_PLACE_VOX:
        raise InputError(
            "the labels do not lie on the scan's voxels",
            file=path,
            why=f"{off:.2g} voxels off at a corner",
            hint=OTHER_SCAN,
        )
    return np.asarray(start, dtype=np.int64)

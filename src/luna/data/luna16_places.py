"""Which annotated places lie in their volumes, from the scans' headers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray, Geometry
from luna.data.luna16 import ANNOTATIONS, CANDIDATES, Luna16
from luna.data.luna16_rows import pick_candidates, pick_nodules, rows_of
from luna.data.tables import notice
from luna.run.errors import InputError

Grid = tuple[Geometry, tuple[int, int, int]]


def drop_outside(data: Luna16, grids: Mapping[str, Grid]) -> Luna16:
    """Without nodules and candidates whose centre lies off their volume, with notices.

    `grids` gives geometry and shape (index, row, column) of each series on disk.
    """
    nodule_in = _inside(data, data.nodules.series, data.nodules.center_xyz, grids)
    mark_in = _inside(data, data.candidates.series, data.candidates.center_xyz, grids)
    lost = data.candidates.is_nodule & ~nodule_in[data.candidates.nodule]
    keep = mark_in & ~lost
    renumbered = np.cumsum(nodule_in) - 1
    candidates = pick_candidates(data.candidates, keep)
    nodule = np.where(candidates.nodule >= 0, renumbered[candidates.nodule], -1)
    notices = notice(
        "annotations outside their volume", Path(ANNOTATIONS), data.nodules.line[~nodule_in]
    )
    notices += notice(
        "candidates outside their volume, or of such a nodule",
        Path(CANDIDATES),
        data.candidates.line[~keep],
    )
    return replace(
        data,
        nodules=pick_nodules(data.nodules, nodule_in),
        candidates=replace(candidates, nodule=nodule.astype(np.int64)),
        notices=data.notices + notices,
    )


def read_grid(path: Path) -> Grid:
    """Geometry and shape (index, row, column) from a scan's header, as the file stores it.

    Raises InputError when the header cannot be read or is not 3-D.
    """
    itk: Any = SimpleITK  # its stubs are incomplete
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError("cannot read this header", file=path, why=str(error)[-300:]) from error
    if reader.GetDimension() != 3:
        raise InputError(f"the image is {reader.GetDimension()}-D, not 3-D", file=path)
    columns, rows, slices = reader.GetSize()
    geometry = Geometry(reader.GetOrigin(), reader.GetSpacing(), reader.GetDirection())
    return geometry, (slices, rows, columns)


def _inside(
    data: Luna16,
    series: NDArray[np.int64],
    center: FloatArray,
    grids: Mapping[str, Grid],
) -> NDArray[np.bool_]:
    """Which places round to a voxel of their scan."""
    inside = np.zeros(len(series), dtype=bool)
    for number in np.unique(series):
        rows = rows_of(series, int(number))
        geometry, shape = grids[data.series[number]]
        nearest = np.rint(geometry.irc_from_xyz(center[rows]))
        inside[rows] = ((nearest >= 0) & (nearest < np.array(shape))).all(axis=1)
    return inside

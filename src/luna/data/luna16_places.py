"""Which annotated places lie in their volumes, and what a header says of a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray, Geometry
from luna.data.luna16 import ANNOTATIONS, CANDIDATES, OLD_CANDIDATES, Luna16
from luna.data.tables import Notice, notice
from luna.run.errors import InputError

Grid = tuple[Geometry, tuple[int, int, int]]


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

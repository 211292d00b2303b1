"""Annotated places that lie outside their volumes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luna.ct.formats.metaimage import read_header
from luna.ct.geometry import FloatArray
from luna.data.luna16.folder import ANNOTATIONS, CANDIDATES, OLD_CANDIDATES, Luna16
from luna.data.luna16.rows import LISTED, MARKED
from luna.run.errors import InputError
from luna.run.notice import Notice, name_lines, notice

MAX_OUTSIDE = 0.1
"""The share of annotations that may lie outside their volumes: none of LUNA16's does, most of a
table in other coordinates (RAS, voxels) or of other scans do."""


def inside(irc: FloatArray, shape_irc: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return which places (N, 3) round to a voxel of the volume."""
    nearest = np.rint(irc)
    return np.asarray(((nearest >= 0) & (nearest < np.array(shape_irc))).all(axis=1))


def outside_notices(
    data: Luna16, nodules: NDArray[np.int64], candidates: NDArray[np.int64]
) -> tuple[Notice, ...]:
    """Return notices of the nodules and candidates, by row, that lie outside their volume."""
    old = not (data.root / CANDIDATES).exists()
    source, lines = data.candidates.source[candidates], data.candidates.line[candidates]
    what = "outside their volume, or belonging to such a nodule"
    listed = Path(OLD_CANDIDATES if old else CANDIDATES)
    found = notice(
        "annotations outside their volume", Path(ANNOTATIONS), data.nodules.line[nodules]
    ) + notice(f"candidates {what}", listed, lines[source == LISTED])
    if data.marks_file is not None:
        found += notice(f"marks {what}", data.marks_file, lines[source == MARKED])
    return found


def refuse_strange_places(data: Luna16) -> None:
    """Raise InputError when annotations lie outside the scans, by the headers only.

    A header that cannot be read is passed over: its scan fails when its turn comes.
    """
    outside = np.zeros(len(data.nodules.line), dtype=np.bool_)
    for uid, path in data.files.items():
        rows = data.nodules_of(uid)
        with suppress(InputError, OSError):
            header = read_header(path)
            irc = header.geometry.irc_from_xyz(data.nodules.center_xyz[rows])
            outside[rows] = ~inside(irc, header.size_irc)
    lines = np.sort(data.nodules.line[outside])
    if len(lines) > MAX_OUTSIDE * len(outside):
        raise InputError(
            f"{len(lines)} of {len(outside)} annotations lie outside their volume",
            file=data.root / ANNOTATIONS,
            why=name_lines(lines.tolist(), len(lines)),
            hint="coordinates are LPS mm, as in LUNA16; do the annotations belong to these scans?",
        )

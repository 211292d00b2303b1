"""The slices of one DICOM series as a regular grid: checked, sorted, placed.

Order is by position along the normal of the slices (DICOM PS3.3 C.7.6.2.1.1), never by
instance number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from luna.ct.dicom.tags import text_of
from luna.ct.geometry import ORTHONORMAL_TOLERANCE, Geometry
from luna.run.errors import InputError, naming

NEEDED_TAGS = (
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "RescaleSlope",
    "RescaleIntercept",
)

ALIKE = {"Rows": 0.0, "Columns": 0.0, "PixelSpacing": 1e-4, "ImageOrientationPatient": 1e-4}
"""What every slice must share, and the rounding that is allowed: 1e-4 is 0.04 mm at 400 mm."""

SAME_PLACE_MM = 0.01
"""Slices nearer than this are at one position: scanners step by tenths of a millimetre."""

SIDEWAYS_MM = 0.1
"""Drift across the slices beyond this is a tilted gantry; positions are rounded to less."""

HOUNSFIELD = ("HU", "US", "HOUNSFIELD", "HOUNSFIELD UNITS")
"""Rescale types in capitals; US is "not specified", which for CT leaves Hounsfield units."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: its file, its header, its position along the normal, its place in the file."""

    path: Path
    header: Dataset
    position_mm: float
    frame: int = 0
    frames: int = 1

    @property
    def name(self) -> str:
        """Return the file's name, with the number of the frame where it holds several."""
        return self.path.name if self.frames == 1 else f"{self.path.name}, frame {self.frame + 1}"


def in_order(slices: list[Slice]) -> list[Slice]:
    """Return the slices from the lowest position along their normal to the highest.

    Duplicates stay in. Raises InputError when the slices are not alike, lack something, or
    are shifted sideways.
    """
    for item in slices:
        _check_complete(item)
        _check_like(item, slices[0])
    _check_orthonormal(slices[0])
    return _sorted(slices)


def _check_complete(item: Slice) -> None:
    header = item.header
    if header.get("ModalityLUTSequence"):
        raise InputError(
            "the slice has a modality lookup table, which luna does not apply",
            file=item.path,
            hint="export the series with rescale slope and intercept",
        )
    missing = [tag for tag in NEEDED_TAGS if header.get(tag) in (None, "")]
    if missing:
        raise InputError(f"the slice has no {missing[0]}", file=item.path)
    frames = str(header.get("NumberOfFrames") or item.frames)
    if frames != str(item.frames) or str(header.get("SamplesPerPixel") or 1) != "1":
        raise InputError(
            "multi-frame or colour images are not read, except enhanced CT",
            file=item.path,
            hint="export one grey file per slice",
        )
    kind = text_of(header, "RescaleType").upper() or "HU"
    if kind not in HOUNSFIELD:
        raise InputError(
            "the rescaled values are not Hounsfield units", file=item.path, why=f"type {kind}"
        )


def _check_orthonormal(item: Slice) -> None:
    directions = np.stack(axes(item))
    if np.abs(directions @ directions.T - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        raise InputError(
            "ImageOrientationPatient is not orthonormal",
            file=item.path,
            why=f"{directions[:2].ravel().tolist()}",
        )


def _check_like(item: Slice, reference: Slice) -> None:
    for tag, tolerance in ALIKE.items():
        ours, theirs = numbers(item, tag), numbers(reference, tag)
        if ours.shape != theirs.shape or np.abs(ours - theirs).max() > tolerance:
            raise InputError(
                f"the slice differs from the others in {tag}",
                file=item.path,
                why=f"{ours.tolist()}, but {theirs.tolist()} in {reference.name}",
                hint="the series mixes two acquisitions: export them apart",
            )


def numbers(item: Slice, tag: str, count: int | None = None) -> FloatArray:
    """Return the values of a tag as float64, `count` of them. Raises InputError."""
    try:
        value = item.header[tag].value
        if isinstance(value, bytes):  # numpy would take the digits of a binary value for its number
            raise TypeError(tag)
        values = np.atleast_1d(np.array(value, dtype=np.float64))
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{tag} is not made of numbers", file=item.path) from error
    if not np.isfinite(values).all() or not 0 < values.size == (count or values.size):
        raise InputError(f"{tag} is not {count or 'made of'} finite numbers", file=item.path)
    return values


def axes(item: Slice) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the LPS directions of the column, row and index axis."""
    cosines = numbers(item, "ImageOrientationPatient", 6)
    return cosines[:3], cosines[3:], np.cross(cosines[:3], cosines[3:])


def _sorted(slices: list[Slice]) -> list[Slice]:
    normal = axes(slices[0])[2]
    points = np.stack([numbers(item, "ImagePositionPatient", 3) for item in slices])
    positions = points @ normal
    order = np.argsort(positions, kind="stable")
    first = order[0]
    drift = points - points[first] - np.outer(positions - positions[first], normal)
    sideways = np.linalg.norm(drift, axis=1)
    worst = int(sideways.argmax())
    if sideways[worst] > SIDEWAYS_MM:
        raise _shifted(slices[worst], sideways / np.maximum(positions - positions[first], 1e-9))
    return [replace(slices[k], position_mm=float(positions[k])) for k in order]


def _shifted(worst: Slice, slopes: FloatArray) -> InputError:
    """The error for slices that do not lie straight above each other; `slopes` is mm per mm."""
    risen = slopes[(slopes > 0) & (slopes < 1e3)]
    if len(risen) and np.ptp(risen) < 0.05 * risen.max():
        return InputError(
            "a tilted gantry: the slices do not make a straight volume",
            file=worst.path.parent,
            why=f"each is shifted as by a tilt of {np.degrees(np.arctan(risen.mean())):.1f}°",
            hint="resample the series to a straight grid, or choose an untilted reconstruction",
        )
    return InputError(
        "the slices are shifted sideways against each other",
        file=worst.path,
        why="a tilted gantry, or two acquisitions in one series",
        hint="export one untilted acquisition",
    )


def geometry_of(slices: list[Slice]) -> Geometry:
    """Return the grid of slices in order, without duplicates. Raises InputError."""
    first, last = slices[0], slices[-1]
    row_mm, column_mm = numbers(first, "PixelSpacing", 2).tolist()
    if len(slices) > 1:
        index_mm = (last.position_mm - first.position_mm) / (len(slices) - 1)
    else:
        tag = (
            "SpacingBetweenSlices" if first.header.get("SpacingBetweenSlices") else "SliceThickness"
        )
        if not first.header.get(tag):
            raise InputError("a single slice without a thickness", file=first.path)
        index_mm = float(numbers(first, tag, 1)[0])
    x, y, z = numbers(first, "ImagePositionPatient", 3).tolist()
    direction = np.stack(axes(first), axis=1) + 0.0  # no -0.0
    with naming(first.path):
        # PixelSpacing is the distance between rows first (PS3.3 10.7.1.3).
        return Geometry((x, y, z), (column_mm, row_mm, index_mm), tuple(direction.ravel().tolist()))

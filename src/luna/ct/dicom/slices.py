"""The slices of one DICOM series as a regular grid: checked, sorted, placed.

Order is by position along the normal of the slices (DICOM PS3.3 C.7.6.2.1.1), never by
instance number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from luna.ct.geometry import ORTHONORMAL_TOLERANCE, Geometry
from luna.run.errors import InputError

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

GAP = 1.5
"""A step this many times the usual one has a slice missing in it."""

UNEVEN_MM, UNEVEN = 0.1, 0.05
"""How far, in mm or as a share of the spacing, a slice may lie from its regular place: some
scanners round positions to 0.1 mm, and a twentieth of a slice moves no measurement."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slice:
    """One file of a series: its header, and where it lies along the normal of the slices."""

    path: Path
    header: FileDataset
    position_mm: float


def in_order(slices: list[Slice]) -> list[Slice]:
    """The slices from the lowest position along their normal to the highest.

    Duplicates stay in. Raises InputError when the slices are not alike, lack something, are
    shifted sideways, or do not step evenly.
    """
    for item in slices:
        _check_complete(item)
        _check_like(item, slices[0])
    _check_orthonormal(slices[0])
    ordered = _sorted(slices)
    _check_steps(ordered)
    return ordered


def _check_complete(item: Slice) -> None:
    header = item.header
    missing = [tag for tag in NEEDED_TAGS if header.get(tag) in (None, "")]
    if missing:
        raise InputError(f"the slice has no {missing[0]}", file=item.path)
    if any(str(header.get(tag) or 1) != "1" for tag in ("NumberOfFrames", "SamplesPerPixel")):
        raise InputError(
            "multi-frame or colour DICOM is not read",
            file=item.path,
            hint="export one grey file per slice",
        )
    kind = str(header.get("RescaleType") or "HU")
    if kind not in ("HU", "US"):
        raise InputError(
            "the rescaled values are not Hounsfield units", file=item.path, why=f"type {kind}"
        )


def _check_orthonormal(item: Slice) -> None:
    axes = np.stack(_axes(item))
    if np.abs(axes @ axes.T - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        raise InputError(
            "ImageOrientationPatient is not orthonormal",
            file=item.path,
            why=f"{axes[:2].ravel().tolist()}",
        )


def _check_like(item: Slice, reference: Slice) -> None:
    for tag, tolerance in ALIKE.items():
        ours, theirs = numbers(item, tag), numbers(reference, tag)
        if ours.shape != theirs.shape or np.abs(ours - theirs).max() > tolerance:
            raise InputError(
                f"the slice differs from the others in {tag}",
                file=item.path,
                why=f"{ours.tolist()}, but {theirs.tolist()} in {reference.path.name}",
                hint="the series mixes two acquisitions: export them apart",
            )


def numbers(item: Slice, tag: str, count: int | None = None) -> FloatArray:
    """The values of a tag as float64, `count` of them. Raises InputError."""
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


def _axes(item: Slice) -> tuple[FloatArray, FloatArray, FloatArray]:
    """LPS directions of the column, row and index axis."""
    cosines = numbers(item, "ImageOrientationPatient", 6)
    return cosines[:3], cosines[3:], np.cross(cosines[:3], cosines[3:])


def _sorted(slices: list[Slice]) -> list[Slice]:
    normal = _axes(slices[0])[2]
    points = np.stack([numbers(item, "ImagePositionPatient", 3) for item in slices])
    positions = points @ normal
    order = np.argsort(positions, kind="stable")
    first = order[0]
    sideways = np.abs(points - points[first] - np.outer(positions - positions[first], normal)).max(
        axis=1
    )
    worst = int(sideways.argmax())
    if sideways[worst] > SIDEWAYS_MM:
        raise InputError(
            "the slices are shifted sideways against each other",
            file=slices[worst].path,
            why=f"by {sideways[worst]:.1f} mm: a tilted gantry, or two acquisitions in one series",
            hint="export the series untilted",
        )
    return [replace(slices[k], position_mm=float(positions[k])) for k in order]


def _check_steps(slices: list[Slice]) -> None:
    """Raise InputError for missing slices and uneven steps, naming where they are."""
    places = [slices[0].position_mm]
    for item in slices[1:]:
        if item.position_mm - places[-1] > SAME_PLACE_MM:
            places.append(item.position_mm)
    if len(places) < 3:
        return
    steps = np.diff(places)
    usual = float(np.median(steps))
    gaps = [k for k in range(len(steps)) if steps[k] > GAP * usual]
    if gaps:
        lost = [_lost(places[k], float(steps[k]), usual) for k in gaps[:4]]
        raise InputError(
            "slices are missing",
            file=slices[0].path.parent,
            why=f"usually one every {usual:g} mm, but none at {', '.join(lost)} along the normal",
            hint="copy the series again in full",
        )
    regular = np.linspace(places[0], places[-1], len(places))
    off = np.abs(np.array(places) - regular)
    if off.max() > max(UNEVEN_MM, UNEVEN * usual):
        raise InputError(
            "the slices are unevenly spaced",
            file=slices[0].path.parent,
            why=f"steps from {steps.min():.3g} to {steps.max():.3g} mm; the slice at "
            f"{places[int(off.argmax())]:.2f} mm lies {off.max():.2g} mm off its place",
            hint="choose a series with one spacing",
        )


def _lost(before_mm: float, step_mm: float, usual_mm: float) -> str:
    count = max(round(step_mm / usual_mm) - 1, 1)
    first, last = before_mm + usual_mm, before_mm + count * usual_mm
    return f"{first:.2f} mm" if count == 1 else f"{first:.2f} … {last:.2f} mm ({count} slices)"


def geometry_of(slices: list[Slice]) -> Geometry:
    """The grid of slices in order, without duplicates. Raises InputError."""
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
    direction = np.stack(_axes(first), axis=1) + 0.0  # no -0.0
    try:
        # PixelSpacing is the distance between rows first (PS3.3 10.7.1.3).
        return Geometry((x, y, z), (column_mm, row_mm, index_mm), tuple(direction.ravel().tolist()))
    except InputError as error:
        raise InputError(error.what, file=first.path, why=error.why) from error

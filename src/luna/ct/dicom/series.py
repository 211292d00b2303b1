"""A CT series from DICOM files: which files belong to it, and the volume they make.

Source: DICOM PS3.3 C.7.6.2 (image plane), C.8.2.1 (CT image), PS3.10 (file format).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pydicom.dataset import FileDataset
from pydicom.multival import MultiValue

from luna.ct.dicom.file import CT_IMAGE, PHI_TAGS, SAFE_TAGS, is_dicom, read_header, text_of
from luna.ct.dicom.pixels import read_pixels
from luna.ct.dicom.slices import Slice, geometry_of, in_order, numbers
from luna.ct.volume import Volume, check_grid
from luna.run.errors import InputError, UsageError

INTEGER = re.compile(r"[+-]?[0-9]{1,11}")
"""What the value representation IS allows (PS3.5, 6.2)."""

MAX_FILES = 20_000
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One line of a list of series. `description` is free text and may name a person."""

    uid: str
    modality: str
    slices: int
    description: str


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files in a folder and its subfolders, in order of their paths."""
    files: list[Path] = []
    # Links to folders are not followed; a folder that can't be entered is not passed over.
    for place, _, names in os.walk(folder, onerror=_raise):
        files += [
            path
            for name in names
            if not name.startswith(".") and (path := Path(place, name)).is_file()
        ]
        if len(files) > MAX_FILES:
            raise UsageError(
                f"more than {MAX_FILES} files in this folder", file=folder, hint="name one series"
            )
    return [path for path in sorted(files) if path.name != "DICOMDIR" and is_dicom(path)]


def _raise(error: OSError) -> NoReturn:
    raise error


def list_dicom_series(files: list[Path]) -> tuple[Series, ...]:
    """Every CT series of some DICOM files, the largest first."""
    series, _ = _ct_series([(path, read_header(path)) for path in files])
    return _listed(series)


def series_of(path: Path) -> str:
    """The series UID of one DICOM file."""
    return str(read_header(path).get("SeriesInstanceUID", ""))


def read_dicom(place: Path, files: list[Path], series_uid: str | None = None) -> Volume:
    """The CT series of some DICOM files; `place` is what messages name.

    Raises UsageError when they hold several series and none is chosen, and InputError when
    the series is no CT, or its slices do not make one evenly spaced, untilted volume.
    """
    series, left_out = _ct_series([(path, read_header(path)) for path in files])
    if not series:
        raise InputError(
            "no CT slices here", file=place, why="; ".join(left_out), hint="luna reads chest CT"
        )
    chosen = in_order(series[_choose(place, series, series_uid)])
    rows, columns = (int(numbers(chosen[0], tag, 1)[0]) for tag in ("Rows", "Columns"))
    size = (len(chosen), rows, columns)
    check_grid(size, (1.0, 1.0, 1.0), chosen[0].path)
    pixels = read_pixels(chosen, size)
    geometry = geometry_of(pixels.slices)
    check_grid(pixels.hu.shape, geometry.spacing_xyz, place)
    first = pixels.slices[0].header
    images = [_instance_number(item.header) for item in pixels.slices]
    return Volume(
        hu=pixels.hu,
        geometry=geometry,
        series_uid=str(first.SeriesInstanceUID),
        format="DICOM",
        metadata=_texts(first, SAFE_TAGS),
        phi=_texts(first, PHI_TAGS),
        warnings=(*left_out, *pixels.warnings),
        image_numbers=() if None in images else tuple(n for n in images if n is not None),
        padding_voxels=pixels.padding_voxels,
    )


def _ct_series(
    headers: Iterable[tuple[Path, FileDataset]],
) -> tuple[dict[str, list[Slice]], list[str]]:
    """CT slices by series UID, and a sentence for each kind of file that is left out."""
    series: dict[str, list[Slice]] = {}
    other: Counter[str] = Counter()
    for path, header in headers:
        kind = _other_kind(header)
        if kind:
            other[kind] += 1
            continue
        series.setdefault(text_of(header, "SeriesInstanceUID"), []).append(Slice(path, header, 0.0))
    left_out = [f"{count} files were left out: {kind}." for kind, count in sorted(other.items())]
    return series, left_out


def _other_kind(header: FileDataset) -> str:
    """What a file is if it is no slice of a CT; empty if it is one."""
    modality = text_of(header, "Modality")
    if modality != "CT":
        return f"modality {modality or 'not given'}, not CT"
    sop_class = str(header.get("SOPClassUID") or CT_IMAGE)
    if sop_class == ENHANCED_CT:
        return "enhanced multi-frame CT, which luna does not read"
    if sop_class != CT_IMAGE:
        return "no CT image"
    image_type = header.get("ImageType")
    words = image_type if isinstance(image_type, MultiValue) else (image_type,)
    return "localizer" if {"LOCALIZER", "SCOUT"} & {str(w).upper() for w in words} else ""


def _listed(series: dict[str, list[Slice]]) -> tuple[Series, ...]:
    lines = [
        Series(
            uid=uid,
            modality=text_of(slices[0].header, "Modality"),
            slices=len(slices),
            description=text_of(slices[0].header, "SeriesDescription"),
        )
        for uid, slices in series.items()
    ]
    return tuple(sorted(lines, key=lambda line: (-line.slices, line.uid)))


def _choose(place: Path, series: dict[str, list[Slice]], series_uid: str | None) -> str:
    if series_uid is None and len(series) == 1:
        return next(iter(series))
    if series_uid is not None and series_uid in series:
        return series_uid
    lines = [
        f"\n  {line.uid}  {line.slices} slices  {line.description or '(no description)'}"
        for line in _listed(series)
    ]
    what = f"{len(series)} CT series here"
    if series_uid is not None:
        what = f"no series {series_uid} among the {what}"
    raise UsageError(what, file=place, why="".join(lines), hint="choose one with --series UID")


def _texts(header: FileDataset, tags: tuple[str, ...]) -> dict[str, str]:
    return {tag: text for tag in tags if (text := text_of(header, tag))}


def _instance_number(header: FileDataset) -> int | None:
    text = text_of(header, "InstanceNumber")
    return int(text) if INTEGER.fullmatch(text) else None

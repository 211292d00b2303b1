"""A CT series from DICOM files: which files belong to it, and the volume they make.

Source: DICOM PS3.3 C.7.6.2 (image plane), C.8.2.1 (CT image), PS3.10 (file format).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

from luna.ct.dicom import frames
from luna.ct.dicom.file import CT_IMAGE, ENHANCED_CT, pydicom_faults, read_header, sop_class
from luna.ct.dicom.folder import Found
from luna.ct.dicom.instances import instances_of
from luna.ct.dicom.listed import Series, described, named
from luna.ct.dicom.mixture import check_one_scan
from luna.ct.dicom.pixels import read_pixels
from luna.ct.dicom.slices import Slice, geometry_of, in_order, numbers
from luna.ct.dicom.steps import check_steps, image_number, without_duplicates
from luna.ct.dicom.tags import shown_and_private, text_of
from luna.ct.volume import Volume, as_series_uid, check_grid
from luna.run.errors import InputError, UsageError, naming

FEWEST_TO_GROUP = 3
"""So many slices, each with a series UID of its own, are taken for one series."""

SAME_PLANE = ("StudyInstanceUID", "FrameOfReferenceUID", "Rows", "Columns", "PixelSpacing")
ORIENTATION_DECIMALS = 3

SeriesBySlices = dict[str, list[Slice]]


class SeveralScansError(UsageError):
    """A path names several scans, and none of them was chosen."""


def list_dicom_series(found: Found) -> tuple[Series, ...]:
    """Return every CT series of some DICOM files, the largest first."""
    series, _ = _ct_series(found.files)
    return _listed(series)


def series_of(path: Path) -> str:
    """Return the series UID of one DICOM file."""
    return text_of(read_header(path), "SeriesInstanceUID")


def read_dicom(
    place: Path, found: Found, series_uid: str | None = None, one_of: Path | None = None
) -> Volume:
    """Read the CT series of some DICOM files; `place` is what messages name.

    `one_of` chooses the series that this file is of. Raises UsageError when there are several
    series and none is chosen, and InputError when the series is no CT, or its slices do not
    make one evenly spaced, untilted volume of one scan.
    """
    series, left_out = _ct_series(found.files)
    notes = [*found.sentences(), *left_out]
    if not series:
        raise InputError(
            "no CT slices here", file=place, why=" ".join(notes), hint="luna reads chest CT"
        )
    uid = _choose(place, series, series_uid, one_of)
    ordered = in_order(series[uid])
    _check_size(ordered)
    notes += [*check_steps(ordered), *check_one_scan(without_duplicates(ordered))]
    return _volume(place, uid, ordered, notes)


def _check_size(slices: list[Slice]) -> None:
    rows, columns = (int(numbers(slices[0], tag, 1)[0]) for tag in ("Rows", "Columns"))
    with naming(slices[0].path):
        check_grid((len(slices), rows, columns), (1.0, 1.0, 1.0))


def _volume(place: Path, uid: str, ordered: list[Slice], notes: list[str]) -> Volume:
    rows, columns = (int(numbers(ordered[0], tag, 1)[0]) for tag in ("Rows", "Columns"))
    with naming(place):
        pixels = read_pixels(ordered, (len(ordered), rows, columns))
        geometry = geometry_of(pixels.slices)
        check_grid(pixels.hu.shape, geometry.spacing_xyz)
    shown, private = shown_and_private(pixels.slices[0].header)
    images = [image_number(item) for item in pixels.slices]
    clean = as_series_uid(uid)
    if clean != uid:
        notes.append(f"The series UID of the files is not valid; it is shown as {clean}.")
    own = {text_of(item.header, "SeriesInstanceUID") for item in ordered}
    if len(own) > 1:
        notes.append(
            f"Each of {len(own)} files has a series UID of its own: they were grouped by study, "
            "frame of reference and orientation."
        )
    return Volume(
        hu=pixels.hu,
        geometry=geometry,
        series_uid=clean,
        format="DICOM",
        metadata=shown,
        phi=private,
        warnings=(*notes, *pixels.warnings),
        image_numbers=() if None in images else tuple(n for n in images if n is not None),
        instances=instances_of(pixels.slices),
        padding_voxels=pixels.padding_voxels,
    )


def _ct_series(files: Iterable[Path]) -> tuple[SeriesBySlices, list[str]]:
    """Return CT slices by series UID, and a sentence for each kind of file that is left out."""
    series: SeriesBySlices = {}
    other: Counter[str] = Counter()
    for path in files:
        slices, kind = ct_slices(path)
        if kind:
            other[kind] += 1
        for item in slices:
            series.setdefault(series_uid_of(item), []).append(item)
    left_out = [f"{count} files were left out: {kind}." for kind, count in sorted(other.items())]
    return grouped(series), left_out


def ct_slices(path: Path) -> tuple[list[Slice], str]:
    """Return the CT slices of one file, and what kind of file it is if it is left out.

    Raises InputError when the file is damaged.
    """
    header = read_header(path)
    kind = _other_kind(header)
    return ([], kind) if kind else (_slices(path, header), "")


def series_uid_of(item: Slice) -> str:
    """Return the UID of the series that the header of a slice names."""
    return text_of(item.header, "SeriesInstanceUID")


def _slices(path: Path, header: FileDataset) -> list[Slice]:
    if sop_class(header) not in ENHANCED_CT:
        return [Slice(path, header, 0.0)]
    with pydicom_faults(path):  # it judges every value again that goes into another header
        found = frames.slices_of(path, header)
    return [item for item in found if not _is_localizer(item.header)]


def _other_kind(header: FileDataset) -> str:
    """Return what a file is if it is no slice of a CT; nothing if it is one."""
    modality = text_of(header, "Modality")
    if modality != "CT":
        return f"modality {modality or 'not given'}, not CT"
    if sop_class(header) not in (CT_IMAGE, *ENHANCED_CT):
        return "no CT image"
    return "localizer" if _is_localizer(header) else ""


def _is_localizer(header: Dataset) -> bool:
    words = text_of(header, "ImageType").upper().split("\\")
    return bool({"LOCALIZER", "SCOUT"} & set(words))


def grouped(series: SeriesBySlices) -> SeriesBySlices:
    """Join slices that each have a series UID of their own, as some anonymisers write them.

    A group goes by the UID of its first slice in the order of paths.
    """
    if len(series) < FEWEST_TO_GROUP or any(len(slices) > 1 for slices in series.values()):
        return series
    groups: dict[tuple[str, ...], list[Slice]] = {}
    for (item,) in series.values():
        groups.setdefault(_plane(item), []).append(item)
    return {text_of(slices[0].header, "SeriesInstanceUID"): slices for slices in groups.values()}


def _plane(item: Slice) -> tuple[str, ...]:
    cosines = item.header.get("ImageOrientationPatient") or ()
    turned = (f"{round(float(v), ORIENTATION_DECIMALS) + 0.0}" for v in cosines)
    return (*(text_of(item.header, tag) for tag in SAME_PLANE), *turned)


def _listed(series: SeriesBySlices) -> tuple[Series, ...]:
    lines = [described(uid, slices) for uid, slices in series.items()]
    return tuple(sorted(lines, key=lambda line: (-line.slices, line.uid)))


def _choose(
    place: Path, series: SeriesBySlices, series_uid: str | None, one_of: Path | None
) -> str:
    if one_of is not None:
        own = [uid for uid, slices in series.items() if one_of in [item.path for item in slices]]
        if own:
            return own[0]
    if series_uid is None and len(series) == 1:
        return next(iter(series))
    listed = _listed(series)
    chosen = [] if series_uid is None else named(listed, series_uid)
    if len(chosen) == 1:
        return chosen[0].uid
    what = f"{len(series)} CT series here"
    if series_uid is not None:
        what = f"no series {series_uid} among the {what}"
    raise SeveralScansError(
        what,
        file=place,
        why="".join(f"\n  {one.line()}" for one in listed),
        hint="choose with --series, by UID, the beginning of it or number; or with --choose",
    )

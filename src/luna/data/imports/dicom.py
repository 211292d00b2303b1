"""Outlines from DICOM: segmentations (SEG) and structure sets (RTSTRUCT).

Source: DICOM PS3.3 A.51 (Segmentation), C.8.8.6 (ROI Contour).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from luna.ct.dicom.file import is_dicom, pydicom_faults, read_header, read_whole
from luna.ct.dicom.tags import text_of
from luna.ct.geometry import Geometry
from luna.ct.labels import paste_labels
from luna.ct.mask import Mask
from luna.ct.orient import to_patient_axes
from luna.ct.scan import Scan
from luna.ct.volume import as_series_uid, check_grid
from luna.data.imports.masks import files_of_no_scan
from luna.data.imports.outlines import Annotated, Outline, agreed, outline_of
from luna.data.imports.polygons import fill, slice_index
from luna.run.errors import InputError, naming
from luna.run.notice import Notice

NODULE_NAMES = ("*nodule*", "*lesion*", "*tumor*", "*tumour*", "*mass*", "gtv*")
"""The names of segments and structures that are taken for nodules, where no others are given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomFiles:
    """The SEG or RTSTRUCT files of one scan; each file is a reader's."""

    paths: tuple[Path, ...]
    readers: int
    names: tuple[str, ...]

    def annotate(self, scan: Scan) -> tuple[list[Annotated], int]:
        """Return the nodules that enough readers outlined, and how many others there are.

        Raises InputError for a damaged file, one on another grid, or one that names no nodule.
        """
        return agreed(
            [o for path in self.paths for o in _outlines(path, scan, self.names)],
            scan,
            self.readers,
        )


def find_dicom_outlines(
    folder: Path, modality: str, readers: int, names: Sequence[str], uids: Mapping[str, str]
) -> tuple[dict[str, DicomFiles], tuple[Notice, ...]]:
    """Find the files of a modality (SEG or RTSTRUCT) below a folder, by the series they are of.

    Raises InputError when there is none of a scan.
    """
    found: dict[str, list[Path]] = {}
    lost = []
    for path in (p for p in sorted(folder.rglob("*")) if p.is_file() and is_dicom(p)):
        if text_of(read_header(path), "Modality") != modality:
            continue
        with pydicom_faults(path):
            series = [*_series_of(read_whole(path))]
        uid = next((uids[u] for u in series if u in uids), None)
        if uid is None:
            lost.append(path)
        else:
            found.setdefault(uid, []).append(path)
    if not found:
        raise InputError(
            f"no {modality} of a scan below this folder",
            file=folder,
            why=f"{len(lost)} files belong to other series",
        )
    chosen = tuple(names) or NODULE_NAMES
    files = {
        uid: DicomFiles(paths=tuple(paths), readers=readers, names=chosen)
        for uid, paths in found.items()
    }
    return files, files_of_no_scan(folder, lost)


def _series_of(header: Dataset) -> Iterator[str]:
    """Yield the UIDs of the series that a file refers to."""
    for item in header.get("ReferencedSeriesSequence") or ():
        yield as_series_uid(text_of(item, "SeriesInstanceUID"))
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for item in study.get("RTReferencedSeriesSequence") or ():
                yield as_series_uid(text_of(item, "SeriesInstanceUID"))


def _outlines(path: Path, scan: Scan, names: Sequence[str]) -> list[Outline]:
    dataset = read_whole(path)
    with pydicom_faults(path):
        marked = _segments(dataset) if text_of(dataset, "Modality") == "SEG" else _rois(dataset)
        chosen = {number: name for number, name in marked.items() if _is_named(name, names)}
        if not chosen:
            raise InputError(
                "no segment or structure in this file is named as a nodule",
                file=path,
                why="there are " + ", ".join(repr(name) for name in marked.values()),
                hint="choose by name: --roi 'PATTERN'",
            )
        read: Callable[[FileDataset, int, Scan, Path], Mask]
        read = _segment_mask if text_of(dataset, "Modality") == "SEG" else _roi_mask
        found = [outline_of(read(dataset, number, scan, path), path.name) for number in chosen]
    return [outline for outline in found if outline is not None]


def _is_named(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _segments(dataset: Dataset) -> dict[int, str]:
    return {int(s.SegmentNumber): text_of(s, "SegmentLabel") for s in dataset.SegmentSequence}


def _rois(dataset: Dataset) -> dict[int, str]:
    return {int(r.ROINumber): text_of(r, "ROIName") for r in dataset.StructureSetROISequence}


def _segment_mask(dataset: FileDataset, number: int, scan: Scan, path: Path) -> Mask:
    """Return the voxels of a segment on the scan's grid."""
    with naming(path):
        check_grid(
            (int(dataset.NumberOfFrames), int(dataset.Rows), int(dataset.Columns)), (1, 1, 1)
        )
    frames = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns))
    most = int(dataset.get("MaximumFractionalValue", 1))
    shared = dataset.SharedFunctionalGroupsSequence[0]
    mask = np.zeros(scan.shape_irc, dtype=np.bool_)
    for frame, own in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if int(_group(own, shared, "SegmentIdentification").ReferencedSegmentNumber) == number:
            plane = 2 * frame[None].astype(np.int32) > most if most > 1 else frame[None] > 0
            turned, geometry = to_patient_axes(plane, _frame_geometry(own, shared, scan))
            paste_labels(mask, turned, geometry, scan, path)
    return mask


def _group(own: Dataset, shared: Dataset, name: str) -> Dataset:
    """Return a functional group of a frame, or the one that all frames share."""
    sequence = own.get(f"{name}Sequence") or shared.get(f"{name}Sequence")
    item: Dataset = sequence[0]
    return item


def _frame_geometry(own: Dataset, shared: Dataset, scan: Scan) -> Geometry:
    """Return the grid of one frame; its thickness is the scan's, as frames may leave gaps."""
    x, y, z = (float(v) for v in _group(own, shared, "PlanePosition").ImagePositionPatient)
    cosines = _group(own, shared, "PlaneOrientation").ImageOrientationPatient
    along_row, along_column = np.reshape([float(v) for v in cosines], (2, 3))
    between_rows, between_columns = (
        float(v) for v in _group(own, shared, "PixelMeasures").PixelSpacing
    )
    normal = np.cross(along_row, along_column)
    matrix = np.column_stack([along_row, along_column, normal])
    axis = int(np.abs(scan.geometry.matrix.T @ normal).argmax())
    spacing = (between_columns, between_rows, scan.geometry.spacing_xyz[axis])
    return Geometry((x, y, z), spacing, tuple(matrix.ravel().tolist()))


def _roi_mask(dataset: FileDataset, number: int, scan: Scan, path: Path) -> Mask:
    """Return the voxels whose centre the contours of a structure enclose; holes stay open."""
    mask = np.zeros(scan.shape_irc, dtype=np.bool_)
    items = [i for i in dataset.ROIContourSequence if int(i.ReferencedROINumber) == number]
    for contour in (c for item in items for c in item.get("ContourSequence") or ()):
        xyz = np.array([float(v) for v in contour.ContourData]).reshape(-1, 3)
        if not np.isfinite(xyz).all():
            raise InputError(
                "a contour has a point that is no place; export the structures again",
                file=path,
                why=f"a coordinate of structure {number} is not a finite number",
            )
        irc = scan.geometry.irc_from_xyz(xyz)
        index = slice_index(irc[:, 0], len(mask), path)
        if len(xyz) > 2:
            mask[index] ^= fill(irc[:, 1:], scan.shape_irc[1:])
    return mask

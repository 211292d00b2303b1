"""Outlines from the XML files of LIDC-IDRI: up to four readers a scan.

Source: the LIDC-IDRI annotation guide. Each reader outlines nodules of 3 mm and more slice by
slice, in pixels of the image; the outline is the ring of pixels just outside the nodule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from luna.ct.mask import Mask
from luna.ct.scan import Scan
from luna.ct.volume import as_series_uid
from luna.data.imports.masks import files_of_no_scan
from luna.data.imports.outlines import Annotated, Outline, agreed, outline_of
from luna.data.imports.polygons import fill, slice_index
from luna.data.imports.xml import children, millimetres, read_root, text_of, whole_number
from luna.run.errors import InputError, naming
from luna.run.notice import Notice
from luna.run.text import for_message

SERIES_TAGS = ("SeriesInstanceUid", "SeriesInstanceUID")

RATINGS = ("malignancy", "texture")

NAME_MAX = 64
"""Characters of a nodule's name that a message quotes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LidcFile:
    """The readers' file of one scan."""

    path: Path
    readers: int

    def annotate(self, scan: Scan) -> tuple[list[Annotated], int]:
        """Return the nodules that enough readers outlined, and how many others there are.

        Raises InputError when the scan's images are not axial, or the file is of another scan.
        """
        if not scan.provenance.stored_orientation.startswith("LP"):
            raise InputError(
                "the outlines are in pixels of axial images, but this scan is not axial",
                file=self.path,
                why=f"its images are oriented {scan.provenance.stored_orientation}",
            )
        with naming(self.path):
            found = list(self._outlines(scan))
        return agreed(found, scan, self.readers)

    def _outlines(self, scan: Scan) -> Iterator[Outline]:
        for number, session in enumerate(children(read_root(self.path), "readingSession")):
            for nodule in children(session, "unblindedReadNodule"):
                name = for_message(text_of(nodule, "noduleID"), most=NAME_MAX)
                place = f"reading session {number + 1}, nodule '{name}'"
                mask = self._mask(nodule, scan, place)
                ratings = {rated: _rating(nodule, rated, place) for rated in RATINGS}
                outline = None if mask is None else outline_of(mask, f"reader {number}", **ratings)
                if outline is not None:
                    yield outline

    def _mask(self, nodule: Element, scan: Scan, place: str) -> Mask | None:
        """Return the voxels that one reader outlined; None for a nodule marked by a point."""
        shape_rc = scan.shape_irc[1:]
        places = [
            (roi, f"{place}, outline {number}")
            for number, roi in enumerate(children(nodule, "roi"), start=1)
        ]
        rings = [(roi, _ring(roi, shape_rc, where), where) for roi, where in places]
        rings = [(roi, ring, where) for roi, ring, where in rings if len(ring) > 2]
        if not rings:
            return None
        mask = np.zeros(scan.shape_irc, dtype=np.bool_)
        x, y, _ = scan.geometry.origin_xyz
        for roi, ring, where in rings:
            z = millimetres(roi, "imageZposition", where)
            index = slice_index(scan.geometry.irc_from_xyz((x, y, z))[:1], len(mask), self.path)
            inside = fill(ring.astype(np.float64), shape_rc)
            rows, columns = np.clip(ring, 0, np.subtract(shape_rc, 1)).T
            inside[rows, columns] = False
            if text_of(roi, "inclusion").upper() == "FALSE":
                mask[index] &= ~inside
            else:
                mask[index] |= inside
        return mask


def find_lidc(
    folder: Path, readers: int, uids: Mapping[str, str]
) -> tuple[dict[str, LidcFile], tuple[Notice, ...]]:
    """Find the readers' files of scans below a folder, by series UID, and those of no scan.

    Raises InputError when there is none, or when a file is no XML of LIDC-IDRI.
    """
    found: dict[str, LidcFile] = {}
    lost = []
    for path in sorted(folder.rglob("*.xml")):
        root = read_root(path)
        name = next((text for tag in SERIES_TAGS if (text := text_of(root, tag))), "")
        uid = uids.get(as_series_uid(name))
        if uid is None:
            lost.append(path)
        else:
            found[uid] = LidcFile(path=path, readers=readers)
    if not found:
        raise InputError(
            "no LIDC-IDRI file of a scan below this folder",
            file=folder,
            why=f"{len(lost)} XML files belong to other series",
        )
    return found, files_of_no_scan(folder, lost)


def _rating(nodule: Element, name: str, place: str) -> int:
    """Return a reader's rating, 1 to 5; 0 where there is none."""
    return whole_number(nodule, name, range(6), place) if text_of(nodule, name) else 0


def _ring(
    roi: Element, shape_rc: tuple[int, int], place: str
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return the (row, column) pixels of an outline, (P, 2); they may lie one beside the image."""
    rows, columns = (range(-1, size + 1) for size in shape_rc)
    edges = [
        (
            whole_number(edge, "yCoord", rows, f"{place}, edgeMap {number}"),
            whole_number(edge, "xCoord", columns, f"{place}, edgeMap {number}"),
        )
        for number, edge in enumerate(children(roi, "edgeMap"), start=1)
    ]
    return np.array(edges, dtype=np.int64).reshape(-1, 2)

"""Outlines from the XML files of LIDC-IDRI: up to four readers a scan.

Source: the LIDC-IDRI annotation guide. Each reader outlines nodules of 3 mm and more slice by
slice, in pixels of the image; the outline is the ring of pixels just outside the nodule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from luna.ct.mask import Mask
from luna.ct.scan import Scan
from luna.ct.volume import as_series_uid
from luna.data.imports.masks import files_of_no_scan
from luna.data.imports.outlines import Annotated, agreed, outline_of
from luna.data.imports.polygons import fill, slice_index
from luna.run.errors import InputError
from luna.run.notice import Notice

XML_BYTES_MAX = 1 << 26
"""The largest file of LIDC-IDRI has 2 MB."""

SERIES_TAGS = ("SeriesInstanceUid", "SeriesInstanceUID")


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
        found = []
        for number, session in enumerate(_children(_root(self.path), "readingSession")):
            for nodule in _children(session, "unblindedReadNodule"):
                mask = self._mask(nodule, scan)
                ratings = {
                    name: int(_text(nodule, name) or 0) for name in ("malignancy", "texture")
                }
                outline = None if mask is None else outline_of(mask, f"reader {number}", **ratings)
                found += [] if outline is None else [outline]
        return agreed(found, scan, self.readers)

    def _mask(self, nodule: ElementTree.Element, scan: Scan) -> Mask | None:
        """Return the voxels that one reader outlined; None for a nodule marked by a point."""
        rings = [(roi, _ring(roi)) for roi in _children(nodule, "roi")]
        rings = [(roi, ring) for roi, ring in rings if len(ring) > 2]
        if not rings:
            return None
        mask = np.zeros(scan.shape_irc, dtype=np.bool_)
        x, y, _ = scan.geometry.origin_xyz
        for roi, ring in rings:
            z = float(_text(roi, "imageZposition"))
            index = slice_index(scan.geometry.irc_from_xyz((x, y, z))[:1], len(mask), self.path)
            inside = fill(ring.astype(np.float64), scan.shape_irc[1:])
            rows, columns = np.clip(ring, 0, np.subtract(scan.shape_irc[1:], 1)).T
            inside[rows, columns] = False
            if _text(roi, "inclusion").upper() == "FALSE":
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
        root = _root(path)
        name = next((text for tag in SERIES_TAGS if (text := _text(root, tag))), "")
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


def _root(path: Path) -> ElementTree.Element:
    if not path.is_file() or path.stat().st_size > XML_BYTES_MAX:
        raise InputError("not an XML file of LIDC-IDRI", file=path)
    data = path.read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError("the XML declares entities, which luna does not expand", file=path)
    try:
        return ElementTree.fromstring(data)  # noqa: S314
    except ElementTree.ParseError as error:
        raise InputError("the XML is damaged", file=path, why=str(error)) from error


def _children(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Yield the children of a name, in any namespace."""
    return (child for child in element if child.tag.rpartition("}")[2] == name)


def _text(element: ElementTree.Element, name: str) -> str:
    """Return the text of the first element of a name below this one; empty without one."""
    found = (e.text or "" for e in element.iter() if e.tag.rpartition("}")[2] == name)
    return next(found, "").strip()


def _ring(roi: ElementTree.Element) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return the (row, column) pixels of an outline, (P, 2)."""
    edges = [(int(_text(e, "yCoord")), int(_text(e, "xCoord"))) for e in _children(roi, "edgeMap")]
    return np.array(edges, dtype=np.int64).reshape(-1, 2)

"""Which image of which DICOM file each slice of a scan is, and the headers of those files.

Source: DICOM PS3.3 C.12.1 (SOP common), C.7.6.16 (frames).
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import FileDataset

from luna.ct.dicom.file import read_but_pixels
from luna.ct.dicom.folder import Found
from luna.ct.dicom.slices import Slice
from luna.ct.dicom.tags import text_of
from luna.ct.scan import Instance
from luna.run.errors import InputError


def instances_of(slices: Sequence[Slice]) -> tuple[Instance, ...]:
    """Return the image of each slice; none where UIDs are missing or not each slice's own."""
    found = [Instance(text_of(item.header, "SOPInstanceUID"), item.frame + 1) for item in slices]
    told_apart = all(item.uid for item in found) and len(set(found)) == len(found)
    return tuple(found) if told_apart else ()


def headers_of(found: Found, instances: Sequence[Instance]) -> tuple[FileDataset, ...]:
    """Return the headers of the files that hold the instances, each once, in their order.

    Raises InputError when one is not among the files.
    """
    wanted = dict.fromkeys(item.uid for item in instances)
    headers: dict[str, FileDataset] = {}
    for path in found.files:
        header = read_but_pixels(path)
        uid = text_of(header, "SOPInstanceUID")
        if uid in wanted and uid not in headers:
            headers[uid] = header
    if len(headers) < len(wanted):
        raise InputError(
            "the DICOM files changed since the scan was read",
            why=f"{len(wanted) - len(headers)} of {len(wanted)} images no longer exist",
        )
    return tuple(headers[uid] for uid in wanted)

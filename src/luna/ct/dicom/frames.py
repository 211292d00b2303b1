"""The frames of an enhanced multi-frame CT, each with the header of a single slice.

Source: DICOM PS3.3 A.38 (enhanced CT), C.7.6.16 (functional groups).
"""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from luna.ct.dicom.slices import Slice
from luna.ct.dicom.tags import GROUP_TAGS, SLICE_TAGS, text_of
from luna.run.errors import InputError

FRAMES_MAX = 20_000

RENAMED = {
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
}
"""Tags of a frame that have another name in a slice."""


def slices_of(path: Path, header: FileDataset) -> list[Slice]:
    """Return the frames of a multi-frame file in the file's order.

    A frame's own groups go before those that all share, and both before the file's header.
    Raises InputError when the number of frames is not what the groups describe.
    """
    shared = _items(header, GROUP_TAGS[0])
    own = _items(header, GROUP_TAGS[1])
    stated = text_of(header, "NumberOfFrames")
    if not own or stated != str(len(own)) or len(own) > FRAMES_MAX:
        raise InputError(
            "the number of frames is not what the header describes",
            file=path,
            why=f"{stated[:20] or 'no number of'} frames, {len(own)} descriptions",
        )
    base = _chosen(header)
    for item in shared[:1]:
        base.update(_from_groups(item))
    return [
        Slice(path, _frame_header(base, item, number), 0.0, number, len(own))
        for number, item in enumerate(own)
    ]


def _frame_header(base: Dataset, item: Dataset, number: int) -> Dataset:
    header = Dataset()
    header.update(base)
    header.update(_from_groups(item))
    header.add_new("InstanceNumber", "IS", number + 1)  # not set: the element may be base's own
    return header


def _from_groups(item: Dataset) -> Dataset:
    """Return what the groups of a frame, or of all frames, say of a slice."""
    found = Dataset()
    for element in item:
        for inner in element.value[:1] if isinstance(element.value, Sequence) else ():
            found.update(_chosen(inner))
    return found


def _chosen(source: Dataset) -> Dataset:
    found = Dataset()
    for element in source:
        keyword = RENAMED.get(element.keyword, element.keyword)
        if keyword in SLICE_TAGS:
            setattr(found, keyword, element.value)
    return found


def _items(header: FileDataset, tag: str) -> list[Dataset]:
    value = header.get(tag)
    return list(value) if isinstance(value, Sequence) else []

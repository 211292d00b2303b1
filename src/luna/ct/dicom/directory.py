"""A DICOMDIR: which files it says are in its folder. It leads to none; their names are compared.

Source: DICOM PS3.3 F.3 (directory records), PS3.10 8.6 (file IDs).
"""

from __future__ import annotations

import os
from pathlib import Path

from pydicom.filereader import dcmread, read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.uid import MediaStorageDirectoryStorage

from luna.ct.dicom.file import START_BYTES, has_mark, pydicom_faults

NAME = "DICOMDIR"

MAX_BYTES = 1 << 26
"""A record of an image has about 300 bytes; this holds 200,000 of them."""


def is_directory(path: Path) -> bool:
    """Return whether a file is a DICOMDIR, whatever its name."""
    with path.open("rb") as stream:
        if not has_mark(stream.read(START_BYTES)):
            return False
    with pydicom_faults(path):
        meta = read_file_meta_info(path)
        return bool(meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage)


def missing_files(folder: Path) -> int:
    """Return how many files the DICOMDIR of a folder names that are not there; 0 without one."""
    found = next((p for p in folder.iterdir() if p.name.upper() == NAME and p.is_file()), None)
    if found is None or found.stat().st_size > MAX_BYTES or not is_directory(found):
        return 0
    with pydicom_faults(found):
        records = dcmread(found).get("DirectoryRecordSequence") or ()
        ids = [record.get("ReferencedFileID") for record in records]
    named = {_comparable("/".join(file_id)) for file_id in map(_parts, ids) if file_id}
    return len(named - _files_below(folder)) if named else 0


def _parts(file_id: object) -> list[str]:
    if isinstance(file_id, MultiValue):
        return [str(part) for part in file_id]
    return [str(file_id)] if file_id else []


def _files_below(folder: Path) -> set[str]:
    return {
        _comparable(Path(place, name).relative_to(folder).as_posix())
        for place, _, names in os.walk(folder)
        for name in names
    }


def _comparable(name: str) -> str:
    """Return a name without what a CD adds to it, and in capitals, as file IDs are."""
    return name.upper().removesuffix(";1").removesuffix(".")

"""A scan of a cohort, read from the file or folder that stands for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from luna.ct.read import read_scan
from luna.ct.scan import Scan


def read_member(path: Path, uid: str) -> Scan:
    """Read a scan of a cohort, which goes by `uid` there. Raises as `read_scan`.

    A folder may hold other DICOM series too; a file may have another name, where it is linked.
    """
    scan = read_scan(path, series_uid=uid if path.is_dir() else None)
    return replace(scan, series_uid=uid)

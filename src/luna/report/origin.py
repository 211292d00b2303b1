"""Where the scan of a report lies, and the names of its nodules: what a later `--prior` needs.

The file names a path, which may name the patient. No other file of a report depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect.findings import Findings
from luna.detect.prior.changes import Comparison, tracking_ids
from luna.detect.prior.fit import Tracked
from luna.run.checked import DamagedError, read_checked, write_checked
from luna.run.errors import InputError, UsageError

NAME = "source.json"
SCHEMA = "luna-source/1"

TRACKING_ID = re.compile("[0-9a-f]{32}")

NAME_IT = "name the scan that the report was made from: --prior SCAN"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What the scan of a report was read from, what it held, and where its nodules are.

    `fingerprint` is that of the scan's content; `nodules` are places in it (LPS mm).
    """

    path: Path
    series_uid: str
    fingerprint: str
    nodules: tuple[Tracked, ...]

    def read(self) -> Scan:
        """Read the scan again. Raises InputError where it is not the one that was looked at."""
        scan = read_scan(self.path, series_uid=self.series_uid)
        if scan.fingerprint() != self.fingerprint:
            raise InputError(
                "this is not the scan of the report any more",
                file=self.path,
                why="its voxels or their places differ",
                hint=NAME_IT,
            )
        return scan


def write_origin(path: Path, scan: Scan, findings: Findings, comparison: Comparison | None) -> None:
    """Write where a scan was read from, and the places of its nodules with their tracking IDs.

    Nodules that only a prior scan showed are among them: they may be seen again.
    """
    ids = tracking_ids(findings, comparison)
    places = {ids[name]: found.center_xyz for name, found in findings.named()}
    for change in comparison.changes if comparison else ():
        places.setdefault(change.tracking_id, change.now_xyz)
    values = {
        "schema": SCHEMA,
        "path": scan.provenance.path,
        "series_uid": scan.series_uid,
        "scan": findings.scan_fingerprint,
        "nodules": [{"tracking_id": name, "center_lps_mm": xyz} for name, xyz in places.items()],
    }
    write_checked(path, values)


def read_origin(folder: Path) -> Origin:
    """Return where the scan of a report lies; it is there, but was not read.

    Raises UsageError where the report does not say so or the scan is gone, and InputError for a
    damaged file.
    """
    if not (folder / NAME).exists():
        raise UsageError("this report does not say where its scan lies", file=folder, hint=NAME_IT)
    origin = stored_origin(folder)
    if not origin.path.exists():
        raise UsageError(
            "the scan of this report is not where it was",
            file=folder,
            why=f"{origin.path} is gone",
            hint=NAME_IT,
        )
    return origin


def stored_origin(folder: Path) -> Origin:
    """Return what a report says of its scan, which may lie elsewhere by now.

    Raises InputError for a damaged file.
    """
    file = folder / NAME
    try:
        return _origin(read_checked(file))
    except (DamagedError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            "this is not a file of luna, or it is damaged", file=file, why=str(error), hint=NAME_IT
        ) from error


def _origin(values: Mapping[str, Any]) -> Origin:
    if values["schema"] != SCHEMA:
        raise ValueError(f"its schema is not {SCHEMA}")
    return Origin(
        path=Path(values["path"]),
        series_uid=str(values["series_uid"]),
        fingerprint=str(values["scan"]),
        nodules=tuple(map(_tracked, values["nodules"])),
    )


def _tracked(value: Mapping[str, Any]) -> Tracked:
    name = str(value["tracking_id"])
    if not TRACKING_ID.fullmatch(name):
        raise ValueError(f"{name!r} is not a tracking ID")
    x, y, z = map(float, value["center_lps_mm"])
    return Tracked(name, (x, y, z))

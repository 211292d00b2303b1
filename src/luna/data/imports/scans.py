"""Find every scan below a folder, with the names that annotations may use for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from luna.ct.dicom.listed import Series
from luna.ct.listing.tree import Tree
from luna.ct.read import scan_suffix
from luna.ct.volume import as_series_uid
from luna.run.errors import InputError, UsageError

IMAGE_CHANNEL = "_0000"
"""nnU-Net ends the name of an image with its channel, and that of its labels without."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundScan:
    """A scan on disk: a file, or the folder of a DICOM series.

    `patient` is a digest of the patient's ID, or empty where the format has none. `names` are
    those that a table or a file of annotations may give the scan.
    """

    uid: str
    path: Path
    patient: str
    names: frozenset[str]


def find_scans(root: Path) -> dict[str, FoundScan]:
    """Find the scans below a folder, by series UID.

    Raises UsageError when a folder is missing or two scans have one UID, and InputError when
    there is no scan.
    """
    if not root.is_dir():
        raise UsageError("no such folder of scans", file=root)
    found: dict[str, FoundScan] = {}
    for scan in _scans(root):
        other = found.setdefault(scan.uid, scan)
        if other is not scan:
            raise UsageError(
                f"two scans are called {scan.uid}",
                file=scan.path,
                why=f"also {other.path}",
                hint="rename one of them, or name a folder that holds only one",
            )
    if not found:
        raise InputError(
            "no scans below this folder",
            file=root,
            hint="luna reads DICOM, MetaImage, NIfTI and NRRD",
        )
    return found


def by_name(scans: Iterable[FoundScan]) -> dict[str, str]:
    """Return the UID of each name that only one of the scans has."""
    uids: dict[str, set[str]] = {}
    for scan in scans:
        for name in scan.names:
            uids.setdefault(name, set()).add(scan.uid)
    return {name: found.pop() for name, found in uids.items() if len(found) == 1}


def patient_digest(patient: str) -> str:
    """Return what stands for a patient in tables: equal for equal IDs, and no name.

    >>> patient_digest("Doe^Jane") == patient_digest("Doe^Jane"), patient_digest("")
    (True, '')
    """
    return hashlib.sha256(patient.encode()).hexdigest()[:16] if patient else ""


def _scans(root: Path) -> Iterator[FoundScan]:
    tree = Tree()
    tree.add(root)
    yield from (_volume(path) for path in tree.volumes if scan_suffix(path))
    yield from (_dicom(series, root) for series in tree.series.values())


def _volume(path: Path) -> FoundScan:
    stem = path.name[: -len(scan_suffix(path))]
    names = {stem, as_series_uid(stem), stem.removesuffix(IMAGE_CHANNEL)}
    return FoundScan(uid=as_series_uid(stem), path=path, patient="", names=frozenset(names))


def _dicom(series: Series, root: Path) -> FoundScan:
    """Return a series as the folder that holds all of its parts."""
    folder = Path(os.path.commonpath([part.folder for part in series.parts]))
    above = {p.name for p in (folder, *folder.parents) if p.is_relative_to(root) and p != root}
    uid = as_series_uid(series.uid)
    names = frozenset({uid, series.patient, *above} - {""})
    return FoundScan(uid=uid, path=folder, patient=patient_digest(series.patient), names=names)

"""Find the DICOM files of a folder, and count the others by reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from luna.ct.dicom import directory
from luna.ct.dicom.file import is_dicom
from luna.run.errors import UsageError

MAX_FILES = 20_000

DESKTOP_NOTES = (".DS_Store", "Thumbs.db", "desktop.ini")
DESKTOP_PREFIX = "._"
"""What file managers leave behind; they hold nothing of a scan and are not counted."""

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar", ".tar", ".tgz")


@dataclass(frozen=True, slots=True)
class Found:
    """The DICOM files in order of their paths, and the number of others by reason."""

    files: list[Path]
    passed_over: Counter[str] = field(default_factory=Counter)

    def sentences(self) -> list[str]:
        """Return what was not read, as one sentence, if anything was."""
        total = self.passed_over.total()
        if not total:
            return []
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(self.passed_over.items()))
        return [f"{total} files in this folder were not read: {reasons}."]


def find_dicom(folder: Path, *, below: bool = True) -> Found:
    """Find the DICOM files in a folder and, unless `below` is False, in its subfolders."""
    found = Found([])
    for path in sorted(_files(folder, below=below)):
        reason = why_passed_over(path)
        if reason:
            found.passed_over[reason] += 1
        elif not is_note(path):
            found.files.append(path)
    lost = directory.missing_files(folder) if below else 0
    if lost:
        found.passed_over["named in the DICOMDIR but missing"] += lost
    return found


def _files(folder: Path, *, below: bool) -> Iterator[Path]:
    count = 0
    # Links to folders are not followed; a folder that can't be entered is not passed over.
    for place, folders, names in os.walk(folder, onerror=_raise):
        if not below:
            folders.clear()
        count += len(names)
        if count > MAX_FILES:
            raise UsageError(
                f"more than {MAX_FILES} files in this folder", file=folder, hint="name one series"
            )
        yield from (Path(place, name) for name in names)


def why_passed_over(path: Path) -> str:
    """Return why a file is passed over; nothing if it is read, or is no file of a scan."""
    if is_note(path):
        return ""
    if path.name.startswith("."):
        return "left out because the name begins with a dot"
    if not path.is_file():
        return "not a plain file"
    if is_dicom(path):
        return ""
    return "compressed" if path.suffix.lower() in COMPRESSED else "not DICOM"


def is_note(path: Path) -> bool:
    """Return whether a file is what file managers leave behind, or a DICOMDIR."""
    named = path.name in DESKTOP_NOTES or path.name.upper() == directory.NAME
    return named or path.name.startswith(DESKTOP_PREFIX)


def _raise(error: OSError) -> NoReturn:
    raise error

"""A scan on disk that was found by a listing, and how it is read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import FileDataset

from luna.ct.dicom.folder import Found, find_dicom
from luna.ct.dicom.instances import headers_of
from luna.ct.dicom.listed import Part, Preference
from luna.ct.listing.files import files_of
from luna.ct.read import read_files, read_headers, read_scan, scan_suffix
from luna.ct.scan import Instance, Scan
from luna.run.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """Whose scan it is and when it was taken, as the headers say: `patient` and `issuer` are IDs.

    `study` is the study's UID or folder. Of several series of a study the one of the least
    `preference` is preferred.
    """

    patient: str
    issuer: str
    study: str
    date: str
    time: str
    preference: Preference


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is read as it is, or a DICOM series with the parts that were found of it.

    `visit` is None where no header was read.
    """

    path: Path
    series_uid: str | None = None
    parts: tuple[Part, ...] = ()
    visit: Visit | None = None

    def read(self) -> Scan:
        """Read the scan. Raises as `read_scan`."""
        if self.series_uid is None or not self.parts:
            return read_scan(self.path, series_uid=self.series_uid)
        return read_files(self.path, self._found(), self.series_uid)

    def headers(self, instances: Sequence[Instance]) -> tuple[FileDataset, ...]:
        """Read the headers of the scan's DICOM files again. Raises as `read_headers`."""
        if not self.parts:
            return read_headers(self.path, instances)
        return headers_of(self._found(), instances)

    def _found(self) -> Found:
        found = Found([])
        for part in self.parts:
            inside = _found_in(part)
            found.files.extend(inside.files)
            found.passed_over.update(inside.passed_over)
        return found

    def stamp(self) -> str | None:
        """Return a hash over names, sizes and times of the files; None where they are not known:
        a DICOM file that stands for its series, and NRRD headers, which may name any file.

        Equal stamps mean that no file was written since, so that the scan need not be read again.
        """
        digest = hashlib.sha256(f"{self.series_uid}".encode())
        files = list(self._files())
        for path in files:
            status = path.stat()
            text = f"\n{path.absolute()} {status.st_size} {status.st_mtime_ns}"
            digest.update(text.encode(errors="surrogateescape"))
        return digest.hexdigest() if files else None

    def _files(self) -> Iterator[Path]:
        for part in self.parts:
            names = part.names or [path.name for path in part.folder.iterdir()]
            yield from (part.folder / name for name in sorted(names))
        suffix = self.path.suffix.lower()
        if not self.parts and (suffix == ".zip" or scan_suffix(self.path)) and suffix != ".nhdr":
            yield from files_of(self.path)


def _found_in(part: Part) -> Found:
    if not part.names:
        return find_dicom(part.folder, below=False)
    for name in part.names:
        if not (part.folder / name).is_file():
            raise InputError("the file has gone since it was listed", file=part.folder / name)
    beside = Counter({"damaged": part.damaged}) if part.damaged else Counter()
    return Found([part.folder / name for name in part.names], beside)

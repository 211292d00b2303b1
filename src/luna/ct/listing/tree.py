"""The contents of folders: DICOM series of many patients, volumes, and other files."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from luna.ct.dicom.folder import is_note, why_passed_over
from luna.ct.dicom.listed import Part, Series, described
from luna.ct.dicom.series import ct_slices, grouped, series_uid_of
from luna.ct.dicom.slices import Slice
from luna.ct.read import DATA_SUFFIXES, PAIR_DATA, scan_suffix
from luna.run.errors import InputError

REPORT = ("report.html", "report.json")
"""Files of a folder that luna wrote: its label volume is no scan."""


VOXELS = (*DATA_SUFFIXES, *PAIR_DATA)
"""How the names of files end that belong to a header beside them."""


@dataclass(slots=True)
class Tree:
    """What was found: series by study and UID, files that are scans, and the rest counted.

    `damaged` gives the reason for each file that may be a part of a scan and cannot be read.
    """

    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    volumes: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    damaged: dict[Path, str] = field(default_factory=dict)

    def add(self, root: Path, skip: Path | None = None) -> None:
        """Look through a folder and all below it, but for `skip`; links to folders are left."""

        def note(error: OSError) -> None:
            self.damaged[Path(error.filename or root)] = error.strerror or "cannot be read"

        for place, folders, names in os.walk(root, onerror=note):
            folder = Path(place)
            if set(REPORT) <= set(names) or (skip is not None and folder.resolve() == skip):
                self.left_out["in a folder that luna wrote"] += len(names)
                folders.clear()
                continue
            folders.sort()
            self._add_folder(folder, sorted(names))

    def studies(self) -> dict[str, list[Series]]:
        """Return the series of each study, in the order of UIDs."""
        found: dict[str, list[Series]] = {}
        for (study, _), series in sorted(self.series.items()):
            found.setdefault(study, []).append(series)
        return found

    def _add_folder(self, folder: Path, names: list[str]) -> None:
        files: list[Path] = []
        damaged: dict[Path, str] = {}
        for name in names:
            path = folder / name
            try:
                if self._is_dicom(path):
                    files.append(path)
            except (InputError, OSError) as error:
                damaged[path] = _reason(error)
        self._add_series(folder, files, damaged)

    def _is_dicom(self, path: Path) -> bool:
        """Return whether a file is DICOM; one that is not is a volume, or is counted."""
        name = path.name.lower()
        if name.startswith(".") or name.endswith(VOXELS):
            return False
        if scan_suffix(path) or name.endswith(".zip"):
            self.volumes.append(path)
            return False
        reason = why_passed_over(path)
        if reason:
            self.left_out[reason] += 1
        return not reason and not is_note(path)

    def _add_series(self, folder: Path, files: list[Path], damaged: dict[Path, str]) -> None:
        """Add the series of one folder.

        Where it is of one series, reading it will find what is damaged; in a mixed folder a
        damaged file could be of any series, and is a failure of its own. A folder of nothing
        but damaged files is one failure.
        """
        slices: dict[str, list[Slice]] = {}
        for path in files:
            try:
                inside, kind = ct_slices(path)
            except (InputError, OSError) as error:
                damaged[path] = _reason(error)
                continue
            if kind:
                self.left_out[kind] += 1
            for item in inside:
                slices.setdefault(series_uid_of(item), []).append(item)
        joined = grouped(slices)
        whole = len(joined) == 1 or len(joined) < len(slices)
        for uid, own in joined.items():
            part = Part(folder) if whole else Part(folder, _names(own), len(damaged))
            self._join(folder, described(uid, own), part)
        if damaged and not joined:
            self.damaged[folder] = _all_of(damaged)
        elif not whole:
            self.damaged.update(damaged)

    def _join(self, folder: Path, series: Series, part: Part) -> None:
        study = series.study_uid or str(folder)
        key = (study, series.uid)
        earlier = self.series.get(key)
        found = replace(series, parts=(part,))
        self.series[key] = earlier.joined(found) if earlier else found


def _all_of(damaged: dict[Path, str]) -> str:
    """Return why a folder holds nothing that can be read, in one line for all its files."""
    first = min(damaged)
    count = "1 file" if len(damaged) == 1 else f"{len(damaged)} files, the first"
    return f"{count}, {first.name}: {damaged[first]}"


def _reason(error: InputError | OSError) -> str:
    """Return what is wrong with a file, without its place."""
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return f"{error.what} ({error.why})" if error.why else error.what


def _names(slices: list[Slice]) -> tuple[str, ...]:
    return tuple(sorted({item.path.name for item in slices}))

"""A scan to prepare, with what is marked on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luna.ct.formats.keys import LOCAL
from luna.ct.formats.metaimage import read_header
from luna.ct.formats.stream import sibling
from luna.ct.geometry import FloatArray
from luna.data.luna16.folder import Luna16
from luna.data.prep.config import PrepConfig, entry_key
from luna.run.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """A scan and what is marked on it; centres in LPS mm, `nodule` counts from 0 in the scan."""

    uid: str
    path: Path
    candidate_xyz: FloatArray
    candidate_nodule: NDArray[np.int64]
    nodule_xyz: FloatArray
    diameter_mm: FloatArray
    malignant: NDArray[np.int8]

    def record_key(self, config: PrepConfig) -> str:
        """Return the key of the scan's record: its files as they are on disk, and all marks.

        Raises InputError when the header cannot be read or its data file is not there.
        """
        marks: list[NDArray[Any]] = [
            self.candidate_xyz,
            self.candidate_nodule,
            self.nodule_xyz,
            self.diameter_mm,
            self.malignant,
        ]
        return entry_key("record", self.uid, _stamp(self.path), config.storing(), marks)


def jobs(cohort: Luna16) -> Iterator[Job]:
    """Yield a job for each scan on disk, in the order of series."""
    n, c = cohort.nodules, cohort.candidates
    for uid in sorted(cohort.files):
        nodules, candidates = cohort.nodules_of(uid), cohort.candidates_of(uid)
        joined = c.nodule[candidates]
        yield Job(
            uid=uid,
            path=cohort.files[uid],
            candidate_xyz=c.center_xyz[candidates],
            candidate_nodule=np.where(joined >= 0, joined - nodules.start, -1),
            nodule_xyz=n.center_xyz[nodules],
            diameter_mm=n.diameter_mm[nodules],
            malignant=n.malignant[nodules],
        )


def _stamp(path: Path) -> list[Any]:
    """Return name, size and time of the header and of the file with the voxels."""
    if not path.is_file():
        raise InputError("not a plain file", file=path)
    try:
        name = read_header(path).data_file
        files = [path] if name == LOCAL else [path, sibling(path, name)]
        return [[p.name, (s := p.stat()).st_size, s.st_mtime_ns] for p in files]
    except OSError as error:
        raise InputError("cannot be read", file=path, why=str(error)) from error

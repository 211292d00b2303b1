"""A scan to prepare, with what is marked on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray
from luna.ct.listing.files import files_of
from luna.data.luna16.folder import Luna16
from luna.data.prep.config import PrepConfig, entry_key
from luna.data.prep.own import OWN_FORMAT
from luna.run.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """A scan and what is marked on it; centres in LPS mm, `nodule` counts from 0 in the scan.

    `mask` is the label volume of its nodules, if there is one; `own_candidates` asks for
    candidates from the scan's lungs.
    """

    uid: str
    path: Path
    candidate_xyz: FloatArray
    candidate_nodule: NDArray[np.int64]
    nodule_xyz: FloatArray
    diameter_mm: FloatArray
    malignant: NDArray[np.int8]
    mask: Path | None
    own_candidates: bool

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
        more: list[Any] = [] if self.mask is None else [_stamp(self.mask)]
        more += [OWN_FORMAT] * self.own_candidates
        return entry_key("record", self.uid, _stamp(self.path), config.storing(), marks, *more)


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
            mask=cohort.masks.get(uid),
            own_candidates=not cohort.has_candidates,
        )


def _stamp(path: Path) -> list[Any]:
    """Return name, size and time of each file that a scan is read from."""
    if not (path.is_file() or path.is_dir()):
        raise InputError("not a plain file", file=path)
    try:
        return [[p.name, (s := p.stat()).st_size, s.st_mtime_ns] for p in files_of(path)]
    except OSError as error:
        raise InputError("cannot be read", file=path, why=str(error)) from error

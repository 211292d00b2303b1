"""Annotated nodules as plain columns, the same for data that trains and for scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""The malignancy of a nodule without a verdict."""

UNSIZED_DIAMETER_MM = 10.0
"""Of an irrelevant finding without a size. Source: the challenge's evaluation script."""

XYZ = ("coordX", "coordY", "coordZ")
"""The columns of a place in LUNA16's tables: LPS mm."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Nodules:
    """N annotated nodules, or irrelevant findings.

    `series`: (N,) index into a list of series UIDs; `center_xyz`: (N, 3) LPS mm; `diameter_mm`:
    (N,), below 0 only for irrelevant findings without a size; `malignant`: (N,) int8, 1, 0 or
    UNKNOWN; `line`: (N,) of the table, from 1; `kind`: (N,), or None where the table does not
    say. `elsewhere` counts the rows of other scans, which were left out.
    """

    series: NDArray[np.intp]
    center_xyz: NDArray[np.float64]
    diameter_mm: NDArray[np.float64]
    malignant: NDArray[np.int8]
    line: NDArray[np.int64]
    kind: tuple[str, ...] | None = None
    elsewhere: int = 0

    def __len__(self) -> int:
        return len(self.series)

    @property
    def is_malignant(self) -> NDArray[np.bool_]:
        """Whether each nodule is known to be malignant, (N,) bool."""
        return np.asarray(self.malignant == 1, dtype=np.bool_)

    @property
    def has_verdict(self) -> NDArray[np.bool_]:
        """Whether each nodule has a verdict, benign or malignant, (N,) bool."""
        return np.asarray(self.malignant != UNKNOWN, dtype=np.bool_)

    def take(self, rows: NDArray[np.integer[Any]] | NDArray[np.bool_]) -> Nodules:
        """Return some of the nodules, in the order given."""
        order = np.arange(len(self))[rows]
        return Nodules(
            series=self.series[order],
            center_xyz=self.center_xyz[order],
            diameter_mm=self.diameter_mm[order],
            malignant=self.malignant[order],
            line=self.line[order],
            kind=None if self.kind is None else tuple(self.kind[k] for k in order),
            elsewhere=self.elsewhere,
        )


def unknown_malignancy(count: int) -> NDArray[np.int8]:
    """Return a column `malignant` of unknowns."""
    return np.full(count, UNKNOWN, dtype=np.int8)


NO_NODULES = Nodules(
    series=np.zeros(0, np.intp),
    center_xyz=np.zeros((0, 3)),
    diameter_mm=np.zeros(0),
    malignant=unknown_malignancy(0),
    line=np.zeros(0, np.int64),
)
"""An empty list of nodules."""

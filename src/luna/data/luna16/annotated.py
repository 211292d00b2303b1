"""Annotated nodules that no candidate lies in, added as candidates where that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from luna.data.luna16.folder import NOT_SHOWN, Luna16
from luna.data.luna16.rows import ANNOTATED, CandidateTable, without_candidate


def add_annotations(data: Luna16) -> Luna16:
    """Return the cohort with a candidate at the centre of each nodule that had none.

    Source: book, chapter 14, which trains on annotations as candidates.
    """
    rows = without_candidate(data.nodules, data.candidates)
    nodules = data.nodules.take(rows)
    added = CandidateTable(
        nodules.series.astype(np.int64),
        nodules.center_xyz,
        rows,
        nodules.line,
        np.full(len(rows), ANNOTATED, dtype=np.int8),
    )
    return replace(
        data,
        candidates=data.candidates.joined(added).sorted_by_series(),
        notices=tuple(n for n in data.notices if n.what != NOT_SHOWN),
    )

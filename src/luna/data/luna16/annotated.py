"""Add annotated nodules that contain no candidate as candidates, if the config says so."""

from __future__ import annotations

from dataclasses import replace

from luna.data.luna16.folder import NOT_SHOWN, Luna16
from luna.data.luna16.rows import at_nodules, without_candidate


def add_annotations(data: Luna16) -> Luna16:
    """Return the cohort with a candidate at the centre of each nodule that had none."""
    rows = without_candidate(data.nodules, data.candidates)
    added = at_nodules(data.nodules, rows)
    return replace(
        data,
        candidates=data.candidates.joined(added).sorted_by_series(),
        notices=tuple(n for n in data.notices if n.what != NOT_SHOWN),
    )

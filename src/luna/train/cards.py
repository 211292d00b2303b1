"""What the card of a new network says of its data: the series, and the sizes in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from luna.data.prepared import Prepared
from luna.data.splits import Split
from luna.nets.trained import Range
from luna.train.config import TrainConfig

LICENCE = "not stated; the trainer decides"


def card_values(config: TrainConfig, prepared: Prepared, split: Split) -> dict[str, Any]:
    """Return what the cards of all networks hold; the run adds its name."""
    return {
        "name": "",
        "training_data": _description(prepared, split),
        "licence": LICENCE,
        "hu_window": config.hu_window,
        "threshold": config.threshold,
        **_trained_range(prepared, split.train),
    }


def _trained_range(prepared: Prepared, uids: Sequence[str]) -> dict[str, Range | None]:
    """Return the sizes of nodules and voxels in the training series, as a card states them."""
    nodules = prepared.rows_in(prepared.nodules.series, uids)
    spacing_irc = [
        spacing
        for uid, spacing in zip(prepared.series, prepared.spacing_irc, strict=True)
        if uid in set(uids)
    ]
    return {
        "diameter_mm": _outward(prepared.nodules.diameter_mm[nodules]),
        "slice_mm": _outward([spacing[0] for spacing in spacing_irc]),
        "pixel_mm": _outward([size for spacing in spacing_irc for size in spacing[1:]]),
    }


def _outward(values_mm: ArrayLike) -> Range | None:
    """The smallest and largest length, rounded to hundredths so that both lie within."""
    found = np.asarray(values_mm, dtype=np.float64)
    found = found[found > 0]
    if not found.size:
        return None
    low, high = np.floor(found.min() * 100) / 100, np.ceil(found.max() * 100) / 100
    return max(float(low), 0.01), float(high)


def _description(prepared: Prepared, split: Split) -> str:
    left_out = f"{len(split.left_out)} left out for their patients, " if split.left_out else ""
    return (
        f"{prepared.folder.name}: {_counted(split.train, 'series to train', prepared)}, {left_out}"
        f"{_counted(split.validation, 'to validate', prepared)} "
        f"(fingerprint {prepared.fingerprint[:12]})"
    )


def _counted(uids: Sequence[str], what: str, prepared: Prepared) -> str:
    """Return how many of the series are prepared, and how many the whole cohort has."""
    missing = len(set(uids) - set(prepared.series))
    count = f"{len(uids) - missing} {what}"
    return f"{count} (of {len(uids)}; {missing} not prepared)" if missing else count

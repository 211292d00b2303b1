"""The folder of an evaluation: what is written there by name, and what must not be lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from luna.evaluate.board import EVENTS, FILE
from luna.evaluate.folds import ANNOTATIONS, DETECTIONS, EXCLUDED, SERIES
from luna.evaluate.page import PAGE, PLOT_ALTS
from luna.run.errors import UsageError

CONCLUSIONS = (PAGE, "metrics.json", "froc.csv", "nodules.csv", *PLOT_ALTS, f"{EVENTS}/{FILE}")
"""What every evaluation may make; the page comes first, for it vouches for the others."""

ALL = (*CONCLUSIONS, DETECTIONS, SERIES, ANNOTATIONS, EXCLUDED)
"""The tables too that an evaluation of scans or folds makes."""


def keep_inputs(out: Path, inputs: Iterable[Path], names: Sequence[str]) -> None:
    """Raise UsageError when writing these names into `out` would lose what is evaluated."""
    written = {out.resolve(), *((out / name).resolve() for name in names)}
    for path in inputs:
        if path.resolve() in written:
            raise UsageError(
                "the evaluation would be written over what it evaluates",
                file=path,
                hint="choose another --out folder",
            )

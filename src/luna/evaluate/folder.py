"""The folder of an evaluation: its file names, and whether one was begun in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luna.evaluate.pages.events import EVENTS, FILE
from luna.evaluate.pages.page import PAGE, PLOT_ALTS
from luna.evaluate.pooling import ANNOTATIONS, DETECTIONS, EXCLUDED, SERIES
from luna.run.files import remove_files, sweep
from luna.run.folders import contents
from luna.run.record import is_record

CONCLUSIONS = (PAGE, "metrics.json", "froc.csv", "nodules.csv", *PLOT_ALTS, f"{EVENTS}/{FILE}")
"""What every evaluation may write. The page comes first, because it vouches for the others."""

EVERYTHING = (*CONCLUSIONS, DETECTIONS, SERIES, ANNOTATIONS, EXCLUDED)
"""The tables too, which an evaluation of scans, or of pooled folds, writes."""

RECORD = "run.json"


def clear(out: Path, names: Sequence[str], *results: Path) -> None:
    """Remove what an earlier evaluation left: files of these names, and temporary ones."""
    remove_files(out, names)
    sweep(out, *results)


def was_begun(out: Path, results: Path) -> bool:
    """Return whether an evaluation was begun in a folder, or the folder is empty.

    The record is written before the folder of results is made; a kill may come between.
    """
    record = out / RECORD
    if results.is_dir():
        return is_record(record)
    others = contents(out)
    return not others or (others == [record] and is_record(record))

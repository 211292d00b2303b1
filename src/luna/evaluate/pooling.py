"""Read the tables that an evaluation wrote, and pool those of several."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from luna.run.errors import InputError, UsageError
from luna.run.files import read_plain
from luna.run.nodules import XYZ
from luna.run.table import Rows, Table, read_table
from luna.score.confusion import DEFAULT_THRESHOLD
from luna.score.marks import (
    FAILED_COLUMN,
    Cohort,
    read_cohort,
    read_excluded,
    read_marks,
    read_nodules,
)

DETECTIONS, SERIES = "detections.csv", "series.csv"
ANNOTATIONS, EXCLUDED = "annotations.csv", "annotations_excluded.csv"

METRICS, METRICS_BYTES_MAX = "metrics.json", 1 << 26

EVALUATION = "evaluation"
"""The folder of an evaluation inside the folder of a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """The evaluation of one test fold: its folder, its scans, and a short name."""

    name: str
    folder: Path
    cohort: Cohort


def find_folds(paths: Sequence[Path]) -> tuple[Fold, ...]:
    """Read and check the tables of evaluated folds.

    Each path is the folder of an evaluation, or a folder that holds one in `evaluation`. Raises
    UsageError for a folder without an evaluation, and for a scan in two of them; InputError,
    naming file and line, for a damaged table.
    """
    folds = tuple(
        Fold(name=name, folder=folder, cohort=_checked(folder))
        for name, folder in zip(_names(paths), map(evaluated_folder, paths), strict=True)
    )
    _refuse_shared_scans(folds)
    listed = [(fold.folder / EXCLUDED).exists() for fold in folds]
    if any(listed) and not all(listed):
        raise UsageError(
            f"no {EXCLUDED} here",
            file=folds[listed.index(False)].folder,
            why="other folds have one, and false marks would be counted by two rules",
        )
    return folds


def pool(folds: Sequence[Fold]) -> dict[str, Rows]:
    """Pool the tables: rows by file name, the header first. A scan's `subset` is its fold.

    Columns that a fold lacks are left out.
    """
    places = ("seriesuid", *XYZ)
    pooled = {SERIES: _pooled_series(folds)}
    pooled[DETECTIONS] = _pooled_rows(folds, DETECTIONS, (*places, "probability"))
    pooled[ANNOTATIONS] = _pooled_rows(folds, ANNOTATIONS, (*places, "diameter_mm"))
    if (folds[0].folder / EXCLUDED).exists():
        pooled[EXCLUDED] = _pooled_rows(folds, EXCLUDED, (*places, "diameter_mm"))
    return pooled


def evaluated_folder(path: Path) -> Path:
    """Return the folder with an evaluation's tables: the path, or `evaluation` below it."""
    for folder in (path, path / EVALUATION):
        if all((folder / name).is_file() for name in (DETECTIONS, SERIES, ANNOTATIONS)):
            return folder
    raise UsageError(
        "no evaluation here",
        file=path,
        why=f"{DETECTIONS}, {SERIES} and {ANNOTATIONS} are not all present",
        hint=f"luna evaluate DATA --weights … --fold K --out {path / EVALUATION}",
    )


def threshold_of(folders: Sequence[Path]) -> float:
    """Return the threshold of evaluations by their folders, 0.5 without a metrics.json.

    Raises UsageError when they differ, and InputError for a metrics.json that is damaged.
    """
    found = {}
    for folder in folders:
        path = folder / METRICS
        if path.exists():
            try:
                values = json.loads(read_plain(path, METRICS_BYTES_MAX))
                found[float(values["config"]["threshold"])] = path
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                raise InputError(
                    "the evaluation's threshold cannot be read",
                    file=path,
                    why=f"{type(error).__name__}: {error}",
                    hint="run the same luna evaluate again, or --set threshold=…",
                ) from error
    if len(found) > 1:
        listed = "".join(f"\n{value:g} in {path}" for value, path in found.items())
        raise UsageError(
            "the evaluations have different thresholds",
            why=listed,
            hint="choose one for all of them: --set threshold=…",
        )
    return next(iter(found), DEFAULT_THRESHOLD)


def _checked(folder: Path) -> Cohort:
    cohort = read_cohort(folder / SERIES)
    read_marks(folder / DETECTIONS, cohort)
    read_nodules(folder / ANNOTATIONS, cohort)
    if (folder / EXCLUDED).exists():
        read_excluded(folder / EXCLUDED, cohort)
    return cohort


def _refuse_shared_scans(folds: Sequence[Fold]) -> None:
    owner: dict[str, Fold] = {}
    for fold in folds:
        for uid in fold.cohort.series_uids:
            if uid in owner:
                raise UsageError(
                    f"the scan {uid} is in two folds",
                    file=fold.folder / SERIES,
                    why=f"also in {owner[uid].folder / SERIES}",
                    hint="pool test folds only: each scan is scored by one of them",
                )
            owner[uid] = fold


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the part of each path that differs from the others."""
    parts = [Path(os.path.abspath(path)).parts for path in paths]  # noqa: PTH100 - `..` goes too
    start = _common(parts)
    rest = [part[start:] for part in parts]
    end = _common([part[::-1] for part in rest])
    short = ["/".join(part[: len(part) - end]) for part in rest]
    return [name or path.name for name, path in zip(short, paths, strict=True)]


def _common(parts: Sequence[tuple[str, ...]]) -> int:
    """Return how many parts all paths share at the start."""
    return len([*takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False))])


def _pooled_series(folds: Sequence[Fold]) -> Rows:
    knows_failures = all(fold.cohort.failed is not None for fold in folds)
    rows: Rows = [("seriesuid", "subset", *([FAILED_COLUMN] if knows_failures else []))]
    for fold in folds:
        reasons = fold.cohort.failed if knows_failures and fold.cohort.failed is not None else ()
        for place, uid in enumerate(fold.cohort.series_uids):
            rows.append((uid, fold.name, *reasons[place : place + 1]))
    return rows


def _pooled_rows(folds: Sequence[Fold], name: str, required: tuple[str, ...]) -> Rows:
    tables = [read_table(fold.folder / name, required) for fold in folds]
    columns = [c for c in tables[0].header if all(table.has(c) for table in tables)]
    return [columns, *(row for table in tables for row in _rows(table, columns))]


def _rows(table: Table, columns: Sequence[str]) -> Iterator[Sequence[str]]:
    yield from zip(*(table.texts(column, empty=True) for column in columns), strict=True)

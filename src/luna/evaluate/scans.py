"""The scans of an evaluated cohort, and the tables with their annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from luna.data.luna16.fit import refuse_misplaced
from luna.data.luna16.folder import KINDS, Luna16, read_luna16
from luna.data.luna16.places import refuse_strange_places
from luna.evaluate.cohort import CohortRun
from luna.evaluate.pooling import ANNOTATIONS, DETECTIONS, EXCLUDED, SERIES
from luna.run.batch import Shard
from luna.run.errors import UsageError
from luna.run.nodules import UNKNOWN, XYZ
from luna.run.table import read_table, write_table
from luna.score.marks import FAILED_COLUMN, Cohort, Marks, read_cohort

UNKNOWN_KIND = "unknown"

Row = Sequence[object]


def chosen_scans(
    root: Path, fold: int | None, listed: Path | None, shard: Shard | None = None
) -> tuple[Luna16, dict[str, Path]]:
    """Read a cohort in the layout of LUNA16, and choose the scans to evaluate, or a share of them.

    Raises InputError when annotations lie outside their scans, or most on no nodule.
    """
    data = read_luna16(root)
    scans = choose_scans(data, fold, listed)
    scans = scans if shard is None else shard.of(scans)
    refuse_strange_places(data)
    refuse_misplaced(data, scans)
    return data, scans


def choose_scans(data: Luna16, fold: int | None, listed: Path | None) -> dict[str, Path]:
    """Choose the scans of one fold, of a list, or all; return their files by series UID.

    Raises UsageError for a fold without scans, InputError, naming the line, for a listed
    series that is not on disk or is listed twice.
    """
    if listed is not None:
        return {uid: data.files[uid] for uid in read_cohort(listed, known=data.files).series_uids}
    chosen = {uid: path for uid, path in data.files.items() if fold in (None, data.fold_of[uid])}
    if not chosen:
        there = ", ".join(str(k) for k in sorted(set(data.fold_of.values())))
        raise UsageError(f"fold {fold} has no scans on disk", hint=f"there are the folds {there}")
    return chosen


def write_truth(out: Path, data: Luna16, scans: Iterable[str]) -> None:
    """Write the truth of some scans: `annotations.csv`, and the excluded findings if any.

    Nodules are those of `read_luna16`, with malignancy and kind where a table has them.
    """
    chosen = set(scans)
    kinds = _kinds(data.root / KINDS)
    nodules = data.nodules
    rows: list[Row] = []
    for k in range(len(nodules.line)):
        uid = data.series[nodules.series[k]]
        if uid in chosen:
            place = tuple(nodules.center_xyz[k].tolist())
            malignant = nodules.malignant[k]
            rows.append(
                (
                    uid,
                    *place,
                    float(nodules.diameter_mm[k]),
                    *([kinds.get((uid, *place), UNKNOWN_KIND)] if kinds else []),
                    "" if malignant == UNKNOWN else bool(malignant),
                )
            )
    kind = ("kind",) if kinds else ()
    _write(out / ANNOTATIONS, ("seriesuid", *XYZ, "diameter_mm", *kind, "malignant"), rows)
    if (data.root / EXCLUDED).exists():
        _write_excluded(out / EXCLUDED, data.root / EXCLUDED, chosen)


def write_outcome(out: Path, data: Luna16, run: CohortRun, *, malignancy: bool) -> None:
    """Write `series.csv`, and `detections.csv` with every mark of every scan with a result.

    `p_malignant` (when there is such a model) and `diameter_mm` are empty below the threshold.
    """
    scans = [
        (uid, data.fold_of[uid], run.failures.get(uid, ""))
        for uid in data.files
        if uid in run.results or uid in run.failures
    ]
    _write(out / SERIES, ("seriesuid", "subset", FAILED_COLUMN), scans)
    extra = ("p_malignant", "diameter_mm") if malignancy else ("diameter_mm",)
    _write(out / DETECTIONS, ("seriesuid", *XYZ, "probability", *extra), _marks(run, malignancy))


def fragments_of(run: CohortRun, cohort: Cohort) -> Marks:
    """Return every candidate of a run, the fragments of one nodule included."""
    place = {uid: index for index, uid in enumerate(cohort.series_uids)}
    results = run.results.items()
    sizes = [len(result.p_nodule) for _, result in results]
    return Marks(
        series=np.repeat([place[uid] for uid, _ in results], sizes).astype(np.intp),
        center_xyz=np.concatenate([np.zeros((0, 3)), *(r.center_xyz for _, r in results)]),
        p_nodule=np.concatenate([np.zeros(0), *(r.p_nodule for _, r in results)]),
    )


def _marks(run: CohortRun, malignancy: bool) -> Iterable[Row]:
    for uid, result in run.results.items():
        for number, mark in enumerate(result.marks):
            is_finding = number < len(result.diameter_mm)
            p = result.p_malignant[number] if is_finding else np.nan
            yield (
                uid,
                *result.center_xyz[mark].tolist(),
                float(result.p_nodule[mark]),
                *(["" if np.isnan(p) else float(p)] if malignancy else []),
                float(result.diameter_mm[number]) if is_finding else "",
            )


def _kinds(path: Path) -> Mapping[tuple[object, ...], str]:
    """Return the kind of each nodule by series and place; empty without such a table."""
    if not path.exists():
        return {}
    table = read_table(path, ("seriesuid", *XYZ, "kind"))
    places = map(tuple, table.points(*XYZ).tolist())
    uids, kinds = table.texts("seriesuid"), table.texts("kind")
    return {(uid, *place): kind for uid, place, kind in zip(uids, places, kinds, strict=True)}


def _write_excluded(out: Path, source: Path, scans: set[str]) -> None:
    columns = ("seriesuid", *XYZ, "diameter_mm")
    table = read_table(source, columns)
    cells = [table.texts("seriesuid"), *(table.numbers(name).tolist() for name in columns[1:])]
    _write(out, columns, [row for row in zip(*cells, strict=True) if row[0] in scans])


def _write(path: Path, header: Row, rows: Iterable[Row]) -> None:
    write_table(path, (header, *rows))

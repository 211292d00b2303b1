"""Score files of marks against annotations; write tables, plots and one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from luna.evaluate.folder import CONCLUSIONS, EVERYTHING, clear
from luna.evaluate.metrics import metrics
from luna.evaluate.pages.footnote import footnote
from luna.evaluate.pages.gallery import Gallery
from luna.evaluate.pages.page import Page, sources_of, write_page
from luna.evaluate.pages.plots import plots
from luna.evaluate.pages.tables import sections, span
from luna.evaluate.pages.worst import worst_cases
from luna.evaluate.pooling import (
    ANNOTATIONS,
    DETECTIONS,
    EXCLUDED,
    SERIES,
    Fold,
    evaluated_folder,
    find_folds,
    pool,
    threshold_of,
)
from luna.run.errors import UsageError
from luna.run.nodules import NO_NODULES, Nodules
from luna.run.table import write_table
from luna.score.evaluation import Evaluation, EvaluationConfig, ScoreConfig, score_detections
from luna.score.froc import FP_RATES, GRID_FP_PER_SCAN, operating_point
from luna.score.marks import (
    Cohort,
    Marks,
    pool_marks,
    read_cohort,
    read_excluded,
    read_marks,
    read_nodules,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """The files of one system's marks, and of the truth that they are scored against.

    `marks`: one file, or the test folds of a cross-validation to pool; `excluded`: irrelevant
    findings, if known; `versus`: the marks of a second system; `folds`: the evaluations that
    were named by their folders. The tables of several are pooled before they are scored.
    """

    marks: tuple[Path, ...]
    annotations: Path
    series: Path
    excluded: Path | None = None
    versus: tuple[Path, ...] = ()
    folds: tuple[Fold, ...] = ()
    evaluated: tuple[Path, ...] = ()

    @property
    def is_pooled(self) -> bool:
        """Return whether the tables of several evaluations are pooled."""
        return len(self.folds) > 1

    def paths(self) -> list[Path]:
        """Return every file and folder that must not be overwritten."""
        return [*(fold.folder for fold in self.folds), *(path for _, path in self)]

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        if self.is_pooled:
            yield from ((f"fold {fold.name}", fold.folder / DETECTIONS) for fold in self.folds)
        yield from (("detections", path) for path in self.marks)
        yield from (("versus", path) for path in self.versus)
        yield "annotations", self.annotations
        yield "series", self.series
        if self.excluded is not None:
            yield "excluded", self.excluded


def find_submission(
    marks: Sequence[Path],
    annotations: Path | None = None,
    series: Path | None = None,
    excluded: Path | None = None,
    versus: Sequence[Path] = (),
) -> Submission:
    """Find the files to score. The folder of an evaluation holds its marks and its annotations.

    Raises UsageError when the truth of a file of marks is not named.
    """
    others = tuple(map(_marks_in, versus))
    if annotations is not None and series is not None:
        return Submission(
            marks=tuple(map(_marks_in, marks)),
            annotations=annotations,
            series=series,
            excluded=excluded,
            versus=others,
            evaluated=tuple(evaluated_folder(path) for path in marks if path.is_dir()),
        )
    if (annotations, series, excluded) != (None, None, None):
        raise UsageError("--annotations and --series are needed together")
    for path in marks:
        if not path.is_dir():
            raise UsageError(
                "a file of marks needs --annotations and --series",
                file=path,
                why="only the folder of an evaluation includes its annotations",
            )
    folds = find_folds(marks)
    return submission_in(folds[0].folder, others, folds)


def submission_in(
    folder: Path, versus: Sequence[Path] = (), folds: Sequence[Fold] = ()
) -> Submission:
    """Return the tables in the folder of an evaluation."""
    excluded = folder / EXCLUDED
    return Submission(
        marks=(folder / DETECTIONS,),
        annotations=folder / ANNOTATIONS,
        series=folder / SERIES,
        excluded=excluded if excluded.exists() else None,
        versus=tuple(versus),
        folds=tuple(folds),
        evaluated=tuple(fold.folder for fold in folds),
    )


def _marks_in(path: Path) -> Path:
    return evaluated_folder(path) / DETECTIONS if path.is_dir() else path


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """The tables of a submission: all that `score_detections` needs.

    `fragments`: the parts that marks stand for, which files do not know.
    """

    cohort: Cohort
    marks: Marks
    nodules: Nodules
    excluded: Nodules
    versus: Marks | None
    folds: int
    fragments: Marks | None = None


def read_tables(files: Submission) -> Tables:
    """Read and check every file; several files of one system are pooled as folds.

    Raises InputError naming file and line.
    """
    cohort = read_cohort(files.series)

    def pooled(paths: Sequence[Path]) -> Marks:
        return pool_marks([read_marks(path, cohort) for path in paths], paths, cohort)

    return Tables(
        cohort=cohort,
        marks=pooled(files.marks),
        nodules=read_nodules(files.annotations, cohort),
        excluded=NO_NODULES if files.excluded is None else read_excluded(files.excluded, cohort),
        versus=pooled(files.versus) if files.versus else None,
        folds=len(files.folds) if files.is_pooled else len(files.marks),
    )


def score_tables(tables: Tables, config: EvaluationConfig) -> Evaluation:
    """Score what was read; raises InputError when the scans hold no nodule."""
    return score_detections(
        tables.cohort,
        tables.marks,
        tables.nodules,
        tables.excluded,
        config=config,
        versus=tables.versus,
        fragments=tables.fragments,
        folds=tables.folds,
    )


def score_submission(files: Submission, config: ScoreConfig, out: Path) -> Page:
    """Score the files and write the evaluation into `out`, with the pooled tables of folds.

    A threshold that is not in the config is the one at which the folds were evaluated.
    """
    if config.threshold is None:
        config = replace(config, threshold=threshold_of(files.evaluated))
    scoring = config.scoring()
    if files.is_pooled:
        clear(out, EVERYTHING)
        for name, rows in pool(files.folds).items():
            write_table(out / name, rows)
        files = submission_in(out, files.versus, files.folds)
    evaluation = score_tables(read_tables(files), scoring)
    clear(out, CONCLUSIONS)
    return write_evaluation(evaluation, out, files)


def write_evaluation(
    evaluation: Evaluation, out: Path, files: Submission, galleries: Sequence[Gallery] = ()
) -> Page:
    """Write froc.csv, nodules.csv and what `write_page` writes into `out`.

    The page shows the `galleries` where there are scans to take pictures from.
    """
    sources = sources_of(files)
    write_table(out / "froc.csv", _froc_rows(evaluation))
    write_table(out / "nodules.csv", _nodule_rows(evaluation))
    page = Page(
        title="Evaluation of nodule detections",
        headline=_headline(evaluation),
        footnote=footnote(evaluation),
        warnings=evaluation.warnings,
        images=plots(evaluation),
        sections=sections(evaluation),
        details=worst_cases(evaluation),
        galleries=tuple(galleries),
        sources=sources,
        scalars=_scalars(evaluation),
        record={**metrics(evaluation), "inputs": sources},
    )
    write_page(out, page)
    return page


def _headline(evaluation: Evaluation) -> tuple[str, str, str]:
    boot = evaluation.froc.bootstrap
    known = "" if boot is None else f" (95 %: {span(boot.cpm)})"
    meaning = "the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per scan"
    return "CPM", f"{evaluation.froc.cpm:.3f}", f"{known}: {meaning}."


def _scalars(evaluation: Evaluation) -> dict[str, float]:
    """Return the main figures under the names that TensorBoard shows."""
    curve, found = evaluation.froc, {"cpm": evaluation.froc.cpm}
    for rate, value in zip(FP_RATES, curve.at_rates.tolist(), strict=True):
        found[f"sensitivity/at_{rate:g}_fp_per_scan"] = value
    if evaluation.classifier is not None:
        found["marks/auc"] = evaluation.classifier.roc.auc
        found["marks/average_precision"] = evaluation.classifier.average_precision
    if evaluation.calibration is not None:
        found["marks/calibration_error"] = evaluation.calibration.ece
    return found


def _froc_rows(evaluation: Evaluation) -> list[list[object]]:
    """Return the curve at GRID_FP_PER_SCAN: rate, sensitivity, threshold, interval if any."""
    curve = evaluation.froc
    rates = GRID_FP_PER_SCAN
    points = [operating_point(curve, rate) for rate in rates.tolist()]
    thresholds = ["" if point is None else point.threshold for point in points]
    columns: list[Sequence[object]] = [
        rates.tolist(),
        np.interp(rates, curve.fp_per_scan, curve.sensitivity).tolist(),
        thresholds,
    ]
    header = ["fp_per_scan", "sensitivity", "threshold"]
    if curve.bootstrap is not None:
        boot = curve.bootstrap
        columns += [boot.mean.tolist(), boot.low.tolist(), boot.high.tolist()]
        header += ["bootstrap_mean", "bootstrap_low", "bootstrap_high"]
    return [[*header], *map(list, zip(*columns, strict=True))]


def _nodule_rows(evaluation: Evaluation) -> list[list[object]]:
    """Return the fate of each annotated nodule; one without a mark has no probability, no rank."""
    nodules, fate = evaluation.matching.nodules, evaluation.fate
    uids = evaluation.matching.cohort.series_uids
    header = ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"]
    rows: list[list[object]] = [[*header, "outcome", "probability", "rank", "shares_mark"]]
    for index, outcome in enumerate(fate.outcome):
        marked = fate.rank[index] > 0
        rows.append(
            [
                uids[nodules.series[index]],
                *nodules.center_xyz[index].tolist(),
                float(nodules.diameter_mm[index]),
                outcome,
                float(fate.p_nodule[index]) if marked else "",
                int(fate.rank[index]) if marked else "",
                bool(fate.shares_mark[index]),
            ]
        )
    return rows

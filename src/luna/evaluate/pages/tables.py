"""The tables of an evaluation as words: one source for the terminal and the HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.evaluate.pages.footnote import footnote, marks_rule
from luna.score.breakdown import OFF_CENTRE_RADII, Group
from luna.score.calibration import BINS, Calibration
from luna.score.confusion import MATCH_DIAMETERS, Confusion
from luna.score.curves import F1, Auc, Curves
from luna.score.evaluation import Evaluation
from luna.score.froc import RATES_IN_GRID, Froc, OperatingPoint
from luna.score.ranking import Interval

RATE_NAMES = ("1/8", "1/4", "1/2", "1", "2", "4", "8")
GROUP_RATES = ("1/8", "1", "8")
"""The rates in tables of groups, so that they fit 80 columns; metrics.json has all seven."""

WORDS = frozenset({"meaning", "outcome", "95 % or detail"})
"""Columns of words. They are aligned left, as the first column is."""

Row = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One table: `header` names the columns, `footnote` names the data and the rules."""

    title: str
    header: Row
    rows: tuple[Row, ...]
    footnote: str

    @property
    def left(self) -> tuple[bool, ...]:
        """Return whether each column is aligned left."""
        return tuple(place == 0 or name in WORDS for place, name in enumerate(self.header))


def sections(evaluation: Evaluation) -> tuple[Section, ...]:
    """Return every table of an evaluation in reading order; tables without data are left out."""
    tables = [
        _froc(evaluation),
        _comparison(evaluation),
        _counts(evaluation),
        _operating(evaluation),
        _groups(evaluation, "Sensitivity by size", "diameter", evaluation.size_bands),
        _groups(evaluation, "Sensitivity by kind", "kind", evaluation.kinds),
        _groups(evaluation, "Sensitivity by subset", "subset", evaluation.subsets),
        _losses(evaluation),
        _confusion(evaluation),
        _classifier(evaluation),
        _malignancy(evaluation),
    ]
    return tuple(table for table in tables if table.rows)


def _froc(evaluation: Evaluation) -> Section:
    rows = _froc_rows("sensitivity", evaluation.froc)
    if evaluation.versus is not None:
        rows += _froc_rows("versus", evaluation.versus)
    return Section(
        title="FROC: sensitivity by false positives per scan",
        header=("", *RATE_NAMES, "CPM"),
        rows=tuple(rows),
        footnote=footnote(evaluation),
    )


def _froc_rows(name: str, curve: Froc) -> list[Row]:
    rows: list[Row] = [(name, *(f"{value:.3f}" for value in curve.at_rates), f"{curve.cpm:.3f}")]
    boot = curve.bootstrap
    if boot is not None:
        low, high = boot.low[RATES_IN_GRID], boot.high[RATES_IN_GRID]
        rows.append(("  95 % from", *(f"{value:.3f}" for value in low), f"{boot.cpm.low:.3f}"))
        rows.append(("  95 % to", *(f"{value:.3f}" for value in high), f"{boot.cpm.high:.3f}"))
    return rows


def _comparison(evaluation: Evaluation) -> Section:
    verdict = evaluation.comparison
    rows: tuple[Row, ...] = ()
    if verdict is not None:
        cells = (f"{verdict.cpm:.4f}", f"{verdict.cpm_versus:.4f}", f"{verdict.difference:+.4f}")
        span = f"{verdict.interval.low:+.4f} to {verdict.interval.high:+.4f}"
        rows = ((*cells, span, f"{verdict.p_value:.3f}"),)
    return Section(
        title="Paired comparison on the same resamples of the scans",
        header=("CPM", "versus", "difference", "95 %", "p, two-sided"),
        rows=rows,
        footnote=footnote(evaluation),
    )


def _counts(evaluation: Evaluation) -> Section:
    counts = evaluation.matching.counts
    names = {
        "marks counted, after the limit per scan": counts.candidates,
        "nodules found (true positives)": counts.true_positives,
        "nodules not found (false negatives)": counts.false_negatives,
        "false marks (false positives)": counts.false_positives,
        "marks ignored on excluded findings": counts.ignored_on_excluded,
        "further marks on a nodule, ignored": counts.ignored_double_detections,
    }
    return Section(
        title="Counts over all marks",
        header=("", "count"),
        rows=tuple((name, f"{count:,}") for name, count in names.items()),
        footnote=footnote(evaluation),
    )


def _operating(evaluation: Evaluation) -> Section:
    wanted = f"for ≤ {evaluation.config.fp_per_scan:g} false positives per scan"
    return Section(
        title="Operating thresholds",
        header=("", "threshold", "false positives per scan", "sensitivity"),
        rows=(
            _point("given", evaluation.at_threshold),
            _point(wanted, evaluation.operating),
        ),
        footnote=footnote(evaluation),
    )


def _point(name: str, point: OperatingPoint | None) -> Row:
    if point is None:
        return (name, "none: even the most probable marks exceed this rate", "–", "–")
    return (name, f"{point.threshold:.6g}", f"{point.fp_per_scan:.3f}", f"{point.sensitivity:.3f}")


def _groups(evaluation: Evaluation, title: str, column: str, groups: tuple[Group, ...]) -> Section:
    shown = [RATE_NAMES.index(name) for name in GROUP_RATES]
    rows = []
    for group in groups:
        curve = group.froc
        cells = [f"{curve.at_rates[place]:.3f}" for place in shown]
        cpm = f"{curve.cpm:.3f}", span(curve.bootstrap.cpm if curve.bootstrap else None)
        rows.append((group.name, f"{curve.scans:,}", f"{curve.nodules:,}", *cells, *cpm))
    rates = [f"at {name}" for name in GROUP_RATES]
    return Section(
        title=title,
        header=(column, "scans", "nodules", *rates, "CPM", "95 %"),
        rows=tuple(rows),
        footnote=footnote(evaluation),
    )


def _losses(evaluation: Evaluation) -> Section:
    fate = evaluation.fate
    threshold = evaluation.config.threshold
    meaning = {
        "found": f"marked at or above {threshold:g}",
        "below threshold": f"marked, but below {threshold:g}",
        "beyond rank": "hit only by marks past the limit per scan",
        "fragment": "hit only by a part of something larger, marked elsewhere",
        "off centre": f"nearest mark outside the radius, within {OFF_CENTRE_RADII:g} radii",
        "no mark": "no mark nearer than that",
    }
    rows: list[Row] = [
        (name, f"{count:,}", f"{count / len(fate.outcome):.1%}", meaning[name])
        for name, count in fate.counts.items()
        if name != "fragment" or fate.knows_fragments
    ]
    merged = int(fate.shares_mark.sum())
    share = f"{merged / len(fate.outcome):.1%}"
    rows.append(("(merged)", f"{merged:,}", share, "share their best mark with another nodule"))
    return Section(
        title="Where nodules are lost",
        header=("outcome", "nodules", "share", "meaning"),
        rows=tuple(rows),
        footnote=footnote(evaluation),
    )


def _confusion(evaluation: Evaluation) -> Section:
    table = evaluation.confusion
    names, columns, counts = _fold_unknown(table)
    rows = [
        (name, *(f"{count:,}" for count in row)) for name, row in zip(names, counts, strict=True)
    ]
    rows[0] = (rows[0][0], "", *rows[0][2:])  # what is no nodule cannot be missed
    rule = (
        f"a mark belongs to a nodule when distance < {MATCH_DIAMETERS:g} diameters; the first row "
        f"counts marks, the others nodules; all marks, no exclusions; threshold {table.threshold:g}"
    )
    return Section(
        title='What became of every nodule (table of chapter 14, "Deep Learning with PyTorch")',
        header=("truth", *columns),
        rows=tuple(rows),
        footnote=footnote(evaluation, rule),
    )


def _fold_unknown(table: Confusion) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Merge rows when malignancy is not annotated, and columns when it is not predicted."""
    counts = table.counts
    rows, columns = ["not a nodule", "nodule"], ["missed", "filtered out", "predicted nodule"]
    if table.knows_truth:
        rows = ["not a nodule", "benign", "malignant"]
    else:
        counts = counts[:2]
    if table.knows_prediction:
        columns = ["missed", "filtered out", "predicted benign", "predicted malignant"]
    else:
        counts = counts[:, :3]
    return rows, columns, counts


def _classifier(evaluation: Evaluation) -> Section:
    return Section(
        title="The marks as a classifier's decisions",
        header=("", "value", "95 % or detail"),
        rows=classifier_rows(evaluation.classifier, evaluation.calibration),
        footnote=footnote(evaluation, marks_rule(evaluation)),
    )


def classifier_rows(curves: Curves | None, calibration: Calibration | None) -> tuple[Row, ...]:
    """Return the rows about decisions with a probability; none without right and wrong ones."""
    if curves is None or calibration is None:
        return ()
    ap = f"{curves.average_precision:.3f}"
    at_bound = " (at the bound)" if calibration.temperature_at_bound else ""
    return (
        *auc_rows("ROC AUC", curves.roc),
        ("average precision", ap, span(curves.average_precision_interval)),
        _f1("best F1", curves.best_f1),
        *([_f1("F1 at the given threshold", curves.f1)] if curves.f1 else []),
        ("expected calibration error", f"{calibration.ece:.3f}", f"{BINS} bins of equal width"),
        (
            "  after temperature scaling",
            f"{calibration.ece_tempered:.3f}",
            f"temperature {calibration.temperature:.3f}{at_bound}, fitted to these same items",
        ),
    )


def _f1(name: str, found: F1) -> Row:
    detail = f"threshold {found.threshold:.6g}: precision {found.precision:.3f}"
    return (name, f"{found.f1:.3f}", f"{detail}, recall {found.recall:.3f}")


def auc_rows(name: str, auc: Auc) -> list[Row]:
    """Return an area under the ROC curve with both of its intervals."""
    rows: list[Row] = [(name, f"{auc.auc:.3f}", f"{span(auc.delong)} (DeLong)")]
    if auc.bootstrap is not None:
        rows.append(("", "", f"{span(auc.bootstrap)} (bootstrap)"))
    return rows


def _malignancy(evaluation: Evaluation) -> Section:
    scored, rows, rule = evaluation.malignancy, [], ""
    if scored is not None:
        rule = "malignant against benign nodules; all annotated: "
        rule += f"{scored.diameter.positives:,} and {scored.diameter.negatives:,}"
        rows += auc_rows("AUC of diameter, all nodules", scored.diameter)
        if scored.head is not None and scored.diameter_found is not None:
            rule += f"; found: {scored.head.positives:,} and {scored.head.negatives:,}"
            rows += auc_rows("AUC of prediction, found nodules", scored.head)
            rows += auc_rows("AUC of diameter, found nodules", scored.diameter_found)
    return Section(
        title="Malignancy, compared with diameter alone",
        header=("", "value", "95 %"),
        rows=tuple(rows),
        footnote=footnote(evaluation, rule),
    )


def failed_scans(failures: Mapping[str, str], meaning: str) -> tuple[Section, ...]:
    """Return a table of the scans without a result; none when every scan has one."""
    title, header = "Scans without a result", ("scan", "meaning")
    rows = tuple(failures.items())
    return (Section(title=title, header=header, rows=rows, footnote=meaning),) if rows else ()


def span(interval: Interval | None) -> str:
    """Return an interval in words."""
    return "–" if interval is None else f"{interval.low:.3f}–{interval.high:.3f}"


def signed_span(interval: Interval) -> str:
    """Return the interval of a difference in words."""
    return f"{interval.low:+.3f} to {interval.high:+.3f}"

"""The plots of an evaluation as PNG bytes, each with a note below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from luna.evaluate.pages.canvas import BLUE, GREY, VERMILION, canvas, png, unit_square
from luna.evaluate.pages.footnote import footnote, marks_rule
from luna.evaluate.pages.tables import RATE_NAMES
from luna.run.figures import Axes, Figure
from luna.score.breakdown import Group
from luna.score.calibration import Calibration, ReliabilityBin
from luna.score.curves import Curves
from luna.score.evaluation import Evaluation
from luna.score.froc import FP_RATES, GRID_FP_PER_SCAN, Froc


def plots(evaluation: Evaluation) -> dict[str, bytes]:
    """Draw the plots: PNG files by name. A plot without data is left out."""
    hits, rule = footnote(evaluation), marks_rule(evaluation)
    drawn = {
        "froc.png": png(_froc(evaluation), hits),
        "size_bands.png": png(_size_bands(evaluation.size_bands), hits),
    }
    if evaluation.classifier is not None and evaluation.calibration is not None:
        drawn |= classifier_plots(
            evaluation.classifier,
            evaluation.calibration,
            MARKS,
            footnote(evaluation, rule),
            footnote(evaluation, rule, INDEPENDENT),
        )
    return drawn


@dataclass(frozen=True, kw_only=True, slots=True)
class Nouns:
    """Words for a plot: all `items`, the `right` ones and the `wrong` ones."""

    items: str
    right: str
    wrong: str


MARKS = Nouns(items="marks", right="marks on nodules", wrong="false marks")

INDEPENDENT = "Intervals: 95 %, Wilson, assuming independent items."


def classifier_plots(
    curves: Curves,
    calibration: Calibration,
    nouns: Nouns,
    note: str,
    note_calibration: str,
    diameter: Curves | None = None,
) -> dict[str, bytes]:
    """Draw ROC, precision against recall, and calibration of decisions with a probability.

    `diameter`: a second line in the ROC, of the same nodules ranked by their size.
    """
    return {
        "roc.png": png(_roc(curves, nouns, diameter), note),
        "precision_recall.png": png(_precision_recall(curves, nouns), note),
        "calibration.png": png(_calibration(calibration, nouns), note_calibration),
    }


def _froc(evaluation: Evaluation) -> Figure:
    figure, axes = canvas("Sensitivity by false positives per scan")
    _froc_line(axes, evaluation.froc, BLUE, "CPM")
    if evaluation.versus is not None:
        _froc_line(axes, evaluation.versus, VERMILION, "versus: CPM")
    axes.set_xscale("log", base=2)
    axes.set_xlim(FP_RATES[0], FP_RATES[-1])
    axes.set_xticks(FP_RATES, RATE_NAMES)
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.set_xlabel("average number of false positives per scan")
    axes.set_ylabel("sensitivity")
    axes.legend(loc="best")
    return figure


def _froc_line(axes: Axes, curve: Froc, colour: str, name: str) -> None:
    # The measured corners, and points between them: straight lines bend on a log axis.
    x = np.append(curve.fp_per_scan, GRID_FP_PER_SCAN)
    y = np.append(
        curve.sensitivity, np.interp(GRID_FP_PER_SCAN, curve.fp_per_scan, curve.sensitivity)
    )
    order = np.lexsort((y, x))
    order = order[x[order] >= FP_RATES[0]]
    label = f"{name} {curve.cpm:.3f}"
    boot = curve.bootstrap
    if boot is not None:
        label += f" (95 %: {boot.cpm.low:.3f}–{boot.cpm.high:.3f})"
        axes.fill_between(GRID_FP_PER_SCAN, boot.low, boot.high, color=colour, alpha=0.15, lw=0)
    axes.plot(x[order], y[order], color=colour, lw=1.8, label=label)
    axes.plot(FP_RATES, curve.at_rates, "o", color=colour, ms=5, clip_on=False)


def _roc(curves: Curves, nouns: Nouns, diameter: Curves | None) -> Figure:
    figure, axes = canvas(f"ROC of the {nouns.items}")
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    _roc_line(axes, curves, BLUE, "AUC")
    if diameter is not None:
        _roc_line(axes, diameter, VERMILION, "diameter alone: AUC")
    unit_square(axes, f"{nouns.wrong} called positive", f"{nouns.right} called positive")
    axes.legend(loc="lower right")
    return figure


def _roc_line(axes: Axes, curves: Curves, colour: str, name: str) -> None:
    low, high = curves.roc.bootstrap or curves.roc.delong
    label = f"{name} {curves.roc.auc:.3f} (95 %: {low:.3f}–{high:.3f})"
    axes.plot(curves.false_positive_rate, curves.recall, color=colour, lw=1.8, label=label)


def _precision_recall(curves: Curves, nouns: Nouns) -> Figure:
    figure, axes = canvas(f"Precision and recall of the {nouns.items}")
    label = f"average precision {curves.average_precision:.3f}"
    if curves.average_precision_interval is not None:
        low, high = curves.average_precision_interval
        label += f" (95 %: {low:.3f}–{high:.3f})"
    axes.step(curves.recall, curves.precision, where="pre", color=BLUE, lw=1.8, label=label)
    share = curves.roc.positives / (curves.roc.positives + curves.roc.negatives)
    axes.axhline(share, color=GREY, lw=1, ls="--", label=f"chance {share:.3f}")
    for point, marker, name in ((curves.best_f1, "o", "best F1"), (curves.f1, "s", "F1")):
        if point is None:
            continue
        text = f"{name} {point.f1:.3f} at {point.threshold:.6g}"
        axes.plot(point.recall, point.precision, marker, color=VERMILION, ms=6, label=text)
    unit_square(axes, "recall", "precision")
    axes.legend(loc="best")
    return figure


def _calibration(calibration: Calibration, nouns: Nouns) -> Figure:
    figure, axes = canvas(f"Calibration of the {nouns.items}")
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    _reliability(axes, calibration.bins, BLUE, f"as given: ECE {calibration.ece:.3f}")
    tempered = f"temperature {calibration.temperature:.2f}: ECE {calibration.ece_tempered:.3f}"
    _reliability(axes, calibration.bins_tempered, VERMILION, tempered)
    unit_square(axes, "mean probability of the bin", f"share of {nouns.right}")
    axes.legend(loc="best")
    return figure


def _reliability(axes: Axes, bins: tuple[ReliabilityBin, ...], colour: str, label: str) -> None:
    x = np.array([each.mean_p for each in bins])
    y = np.array([each.share_positive for each in bins])
    span = np.array([each.interval for each in bins]).T
    arms = np.abs(span - y)
    axes.errorbar(x, y, yerr=arms, fmt="o-", color=colour, ms=4, lw=1.2, capsize=2, label=label)


def _size_bands(groups: tuple[Group, ...]) -> Figure:
    figure, axes = canvas("Sensitivity by diameter")
    _group_points(axes, groups)
    axes.set_xticks(range(len(groups)), [f"{each.name}\n{each.froc.nodules:,}" for each in groups])
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_xlabel("diameter, and nodules in the band")
    axes.set_ylabel("sensitivity")
    axes.legend(loc="best")
    return figure


def _group_points(axes: Axes, groups: tuple[Group, ...]) -> None:
    places = np.arange(len(groups))
    cpm = np.array([each.froc.cpm for each in groups])
    spans = [each.froc.bootstrap.cpm if each.froc.bootstrap else None for each in groups]
    arms = [
        (0, 0) if s is None else (c - s.low, s.high - c) for c, s in zip(cpm, spans, strict=True)
    ]
    lower, upper = np.maximum(np.array(arms), 0).T  # a bound may lie past a skewed estimate
    name = "CPM with its 95 % interval" if all(spans) else "CPM"
    axes.errorbar(
        places, cpm, yerr=(lower, upper), fmt="o", color=BLUE, capsize=4, label=name, clip_on=False
    )
    for rate, marker in ((FP_RATES[0], "v"), (FP_RATES[-1], "^")):
        at = [each.froc.at_rates[FP_RATES.index(rate)] for each in groups]
        text = f"at {RATE_NAMES[FP_RATES.index(rate)]} false positives per scan"
        axes.plot(places, at, marker, color=GREY, ms=5, label=text, clip_on=False)

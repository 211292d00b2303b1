"""What is said of a classifier alone: of nodules, or of malignancy beside diameter alone."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from matplotlib.figure import Figure

from luna.evaluate.basis import counted, interval_words
from luna.evaluate.metrics import Json, curves_json, interval_json
from luna.evaluate.networks.page import Subject, Told
from luna.evaluate.plots import INDEPENDENT, Nouns, canvas, classifier_plots, png, shares
from luna.evaluate.tables import Row, Section, auc_rows, classifier_rows, share_row, span
from luna.score.curves import F1, Gain
from luna.score.decisions import Decisions

CANDIDATES = Nouns(items="candidates", right="nodules", wrong="other candidates")
NODULES = Nouns(items="nodules", right="malignant nodules", wrong="benign nodules")

RULES = {
    "nodule": "a candidate is positive when the table of candidates says so",
    "malignancy": "malignant against benign nodules, at their annotated places; "
    "those without a verdict stand aside",
}
"""What is positive, by the role of the network."""


def tell_decisions(found: Decisions, subject: Subject) -> Told:
    """Tables, plots and figures of a classifier on given places."""
    nouns = CANDIDATES if subject.card.role == "nodule" else NODULES
    auc = found.curves.auc
    rest = f" (95 %: {span(auc.bootstrap or auc.delong)}){_beside(found)}."
    footer = _basis(found, subject, interval_words(subject.config))
    return Told(
        title=f"The {subject.card.role} classifier alone",
        headline=("AUC", f"{auc.auc:.3f}", rest),
        basis=footer,
        sections=_sections(found, subject, footer),
        images={
            **classifier_plots(
                found.curves,
                found.calibration,
                nouns,
                footer,
                _basis(found, subject, INDEPENDENT),
                found.diameter,
            ),
            "size_bands.png": png(_by_size(found, nouns), footer),
        },
        metrics=_metrics(found),
        scalars=_scalars(found),
        scans=found.answers.scans,
        scans_with_items=len(np.unique(found.answers.series[found.answers.positive]))
        if subject.card.role == "nodule"
        else len(np.unique(found.answers.series)),
    )


def _beside(found: Decisions) -> str:
    return "" if found.diameter is None else f"; diameter alone {found.diameter.auc.auc:.3f}"


def _basis(found: Decisions, subject: Subject, intervals: str) -> str:
    answers, card = found.answers, subject.card
    positive = int(answers.positive.sum())
    places = f"{positive:,} positive and {len(answers.positive) - positive:,} negative places"
    rule = RULES[card.role]
    return f"{counted(answers.scans, 'scan')}; {places}. Rule: {rule}. {intervals}"


def _sections(found: Decisions, subject: Subject, basis: str) -> tuple[Section, ...]:
    rows = classifier_rows(found.curves, found.calibration)
    if found.diameter is not None:
        best = found.diameter.best_f1
        rows += (
            *auc_rows("diameter alone: ROC AUC", found.diameter.auc),
            *_gain_rows(found.gain),
            ("diameter alone: best F1", f"{best.f1:.3f}", _millimetres(best)),
        )
    by_size = tuple((name, *share_row(ratio)) for name, ratio in found.recall_by_size)
    threshold = subject.config.threshold
    return (
        Section(
            title=f"{subject.card.name}, asked about given places",
            header=("", "value", "95 % or detail"),
            rows=rows,
            basis=basis,
        ),
        Section(
            title=f"Recall at the given threshold {threshold:g}, by diameter",
            header=("diameter", "recall", "95 %", "of"),
            rows=by_size,
            basis=basis,
        ),
    )


def _millimetres(best: F1) -> str:
    return f"from {best.threshold:.1f} mm: precision {best.precision:.3f}, recall {best.recall:.3f}"


def _gain_rows(gain: Gain | None) -> tuple[Row, ...]:
    if gain is None:
        return ()
    low, high = gain.interval
    detail = f"{low:+.3f} to {high:+.3f} (paired bootstrap), p {gain.p_value:.3f}"
    return (("  what the network adds", f"{gain.difference:+.3f}", detail),)


def _by_size(found: Decisions, nouns: Nouns) -> Figure:
    figure, axes = canvas(f"Recall of the {nouns.right} by diameter")
    shares(axes, {"recall at the given threshold": found.recall_by_size})
    return figure


def _metrics(found: Decisions) -> Json:
    return {
        "places": len(found.answers.p),
        "classifier": curves_json(found.curves),
        "calibration": asdict(found.calibration),
        "recall_by_size": [
            {"name": name, **asdict(ratio), "interval": interval_json(ratio.interval)}
            for name, ratio in found.recall_by_size
        ],
        "diameter": None if found.diameter is None else _diameter_json(found),
    }


def _diameter_json(found: Decisions) -> Json:
    """The baseline, whose thresholds are millimetres; it has no given one."""
    values = curves_json(found.diameter) or {}
    del values["f1"]
    gain = found.gain
    verdict = None if gain is None else {**asdict(gain), "interval": interval_json(gain.interval)}
    return {**values, "gain": verdict}


def _scalars(found: Decisions) -> dict[str, float]:
    values = {
        "auc": found.curves.auc.auc,
        "average_precision": found.curves.average_precision,
        "f1/best": found.curves.best_f1.f1,
        "f1/at_threshold": found.curves.f1.f1,
        "calibration_error": found.calibration.ece,
    }
    if found.diameter is not None:
        values["diameter_alone/auc"] = found.diameter.auc.auc
    return values

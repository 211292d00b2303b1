"""Score one network by itself: tables, plots and one page."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray
from luna.data.luna16.folder import ANNOTATIONS, CANDIDATES, MALIGNANCY, OLD_CANDIDATES
from luna.evaluate.cohort import run_scans
from luna.evaluate.folder import CONCLUSIONS, RECORD, clear
from luna.evaluate.metrics import plain
from luna.evaluate.network import Asking, Network, questions
from luna.evaluate.pages.footnote import counted, interval_words
from luna.evaluate.pages.page import Page, sources_of, write_page
from luna.evaluate.pages.plots import INDEPENDENT, Nouns, classifier_plots
from luna.evaluate.pages.tables import (
    Row,
    Section,
    auc_rows,
    classifier_rows,
    failed_scans,
    signed_span,
    span,
)
from luna.run.checked import Json
from luna.run.config import dump_config
from luna.run.errors import InputError
from luna.run.progress import Listener
from luna.run.record import record_run, write_record
from luna.score.breakdown import band_labels
from luna.score.calibration import calibrate
from luna.score.curves import auc_gain, curves, wilson_interval
from luna.score.ranking import Interval
from luna.score.warnings import few_scans

RULES = {
    "nodule": "a candidate is positive when the table of candidates says so",
    "malignancy": "malignant against benign nodules, at their annotated places; nodules without "
    "a verdict are left out",
    "segmentation": "a nodule's voxels are made from its annotated centre and diameter; a voxel "
    "is marked where its probability is above the threshold",
}
TABLES = (ANNOTATIONS, CANDIDATES, OLD_CANDIDATES, MALIGNANCY)
NOUNS = {
    "nodule": Nouns(items="candidates", right="nodules", wrong="other candidates"),
    "malignancy": Nouns(items="nodules", right="malignant nodules", wrong="benign nodules"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """The nodules in one band of diameter, and how many of them are found."""

    nodules: int
    found: int
    recall: float
    interval: Interval


def judge_network(network: Network, listener: Listener) -> tuple[Page, Mapping[str, str]]:
    """Run the network on every scan, score its answers, and write the evaluation.

    Returns what the page shows, and why scans have no result, by series UID. Raises InputError
    when there is nothing to score.
    """
    role = network.bundle.card.role
    clear(network.out, CONCLUSIONS, network.results)
    record = record_run(sys.argv, dump_config(network.config), str(network.device))
    write_record(record, network.out / RECORD)
    rows = questions(network.data, role, network.scans)
    refuse_unscorable(np.concatenate([*rows.values()]), role)  # before anything is computed
    done = run_scans(network.scans, Asking(network, rows), network.results, listener)
    if not done.results:
        raise InputError("no scan could be read", hint="the reasons are above")
    asked = np.concatenate([rows[uid] for uid in done.results])
    refuse_unscorable(asked, role)
    series = np.repeat(np.arange(len(done.results)), [len(rows[uid]) for uid in done.results])
    results = [*done.results.values()]
    score = _segmenter if network.segments else _classifier
    # Of a table of candidates, those that are nodules; else all that was asked about is one.
    nodules = asked[:, 4] == 1 if role == "nodule" else np.ones(len(asked), np.bool_)
    with_nodules = len(np.unique(series[nodules]))
    page = score(network, asked, series, results)
    page = _finished(page, network, done.failures, with_nodules)
    write_page(network.out, page)
    return page, done.failures


def refuse_unscorable(rows: FloatArray, role: str) -> None:
    """Raise InputError for a segmenter without a nodule, a classifier without both kinds."""
    positive = rows[:, 4] == 1
    hint = "take more scans, or check the tables beside them"
    if role == "segmentation" and not len(rows):
        raise InputError("none of the scans has an annotated nodule", hint=hint)
    if role != "segmentation" and (positive.all() or not positive.any()):
        raise InputError(
            f"{positive.sum():,} of {len(positive):,} places are positive",
            why="a classifier is scored on positive and negative places",
            hint=hint,
        )


def _classifier(
    network: Network, rows: FloatArray, series: NDArray[np.intp], results: Sequence[Json]
) -> Page:
    """Score probabilities at places: AUC beside that of diameter, calibration, recall by size."""
    config, nouns = network.scoring, NOUNS[network.bundle.card.role]
    samples, seed = config.samples, config.seed
    p = np.concatenate([np.array(each["p"], np.float64) for each in results])
    diameter_mm, positive = rows[:, 3], rows[:, 4] == 1
    found = curves(p, positive, series, threshold=config.threshold, samples=samples, seed=seed)
    calibration = calibrate(p, positive)
    shown = list(classifier_rows(found, calibration))
    diameter = gain = None
    if np.isfinite(diameter_mm).all():
        diameter = curves(diameter_mm, positive, series, threshold=None, samples=samples, seed=seed)
        shown += auc_rows("diameter alone: ROC AUC", diameter.roc)
        if samples:
            gain = auc_gain(p, diameter_mm, positive, series, samples=samples, seed=seed)
            detail = f"{signed_span(gain.interval)} (paired bootstrap), p {gain.p_value:.3f}"
            shown.append(("  what the network adds", f"{gain.difference:+.3f}", detail))
    places = f"{positive.sum():,} positive and {(~positive).sum():,} negative places"
    note = f"{_note(network, len(results), places)} {interval_words(config)}"
    bands = _recall_by_size((p >= config.threshold)[positive], diameter_mm[positive])
    beside = "" if diameter is None else f"; diameter alone {diameter.roc.auc:.3f}"
    interval = span(found.roc.bootstrap or found.roc.delong)
    values = {"classifier": found, "calibration": calibration, "diameter": diameter, "gain": gain}
    return Page(
        title="the classifier at known places",
        headline=("AUC", f"{found.roc.auc:.3f}", f" (95 %: {interval}){beside}."),
        footnote=note,
        sections=_sections(shown, bands, note),
        images=classifier_plots(found, calibration, nouns, note, note, diameter),
        scalars={"auc": found.roc.auc, "average_precision": found.average_precision},
        record={"places": len(p), **plain(values), "size_bands": plain(bands)},
    )


def _segmenter(
    network: Network, rows: FloatArray, series: NDArray[np.intp], results: Sequence[Json]
) -> Page:
    """Score counts of voxels: recall, precision and Dice, and nodules touched, by size."""
    tp, fp, fn = (int(n) for n in np.sum([each["voxels"] for each in results], axis=0))
    touched = np.array([hit > 0 for each in results for hit in each["hits"]])
    found = {
        "voxels: recall": tp / max(tp + fn, 1),
        "voxels: precision": tp / max(tp + fp, 1),
        "voxels: Dice": 2 * tp / max(2 * tp + fp + fn, 1),
        "nodules: touched by a voxel": float(touched.mean()),
    }
    shown = [(name, f"{value:.3f}", "") for name, value in found.items()]
    note = _note(network, len(results), f"{counted(len(rows), 'nodule')} of {tp + fn:,} voxels")
    bands = _recall_by_size(touched, rows[:, 3])
    return Page(
        title=f"the segmenter at threshold {network.scoring.threshold:g}",
        headline=("Dice of all voxels", shown[2][1], f"; {shown[3][1]} of the nodules hit."),
        footnote=note,
        sections=_sections(shown, bands, note),
        images={},
        scalars=found,
        record={"shares": found, "size_bands": plain(bands)},
    )


def _recall_by_size(found: NDArray[np.bool_], diameter_mm: FloatArray) -> dict[str, Band]:
    """Return the recall of nodules in every band of diameter that has one, by its name."""
    names, labels = band_labels(diameter_mm)
    bands = {}
    for name in names:
        hits, nodules = int(found[labels == name].sum()), int((labels == name).sum())
        if nodules:
            interval = wilson_interval(hits, nodules)
            bands[name] = Band(
                nodules=nodules, found=hits, recall=hits / nodules, interval=interval
            )
    return bands


def _note(network: Network, scans: int, places: str) -> str:
    return f"{counted(scans, 'scan')}; {places}. Rule: {RULES[network.bundle.card.role]}."


def _sections(rows: Sequence[Row], bands: Mapping[str, Band], note: str) -> tuple[Section, ...]:
    by_size = [
        (name, f"{band.nodules:,}", f"{band.recall:.3f}", span(band.interval))
        for name, band in bands.items()
    ]
    return (
        Section(
            title="Figures",
            header=("", "value", "95 % or detail"),
            rows=tuple(rows),
            footnote=note,
        ),
        Section(
            title="Nodules found, by diameter",
            header=("diameter", "nodules", "recall", "95 %"),
            rows=tuple(by_size),
            footnote=INDEPENDENT,
        ),
    )


def _finished(page: Page, network: Network, failures: Mapping[str, str], with_nodules: int) -> Page:
    """Add what every network's page has: its card, its inputs, the scans without a result."""
    card, warnings = network.bundle.card, few_scans(with_nodules)
    if failures:
        left_out = f"{len(failures)} of {len(network.scans)} scans have no result and are left out"
        warnings.insert(0, left_out)
    paths = [network.data.root / name for name in TABLES]
    sources = sources_of((path.stem, path) for path in paths if path.exists())
    judged = {"role": card.role, "name": card.name, "sha256": card.weights_sha256}
    record = {
        "network": judged,
        "config": {**plain(network.config), "threshold": network.scoring.threshold},
        "cohort": {
            "scans": len(network.scans),
            "scans_with_nodules": with_nodules,
            "scans_without_result": len(failures),
        },
        **page.record,
        "warnings": warnings,
        "inputs": sources,
    }
    return replace(
        page,
        title=f"{card.name}: {page.title}",
        warnings=(*warnings, *([card.notice.rstrip(".")] if card.notice else [])),
        details=failed_scans(failures, "They are left out of all scores."),
        sources=(judged, *sources),
        record=record,
    )

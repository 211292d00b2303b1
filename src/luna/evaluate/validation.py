"""Score one network by itself: tables, plots and one page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray
from luna.data.luna16.folder import ANNOTATIONS, CANDIDATES, MALIGNANCY, OLD_CANDIDATES, Luna16
from luna.evaluate.cohort import RESULTS, run_scans
from luna.evaluate.folder import CONCLUSIONS, RECORD, clear
from luna.evaluate.metrics import plain
from luna.evaluate.network import Network
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
from luna.nets.bundle import Bundle
from luna.run.checked import Json
from luna.run.config import dump_config
from luna.run.errors import InputError
from luna.run.progress import Listener
from luna.run.record import record_run, write_record
from luna.score.breakdown import band_labels
from luna.score.calibration import calibrate
from luna.score.curves import auc_gain, curves, wilson_interval
from luna.score.warnings import few_scans

RULES = {
    "nodule": "a candidate is positive when the table of candidates says so",
    "malignancy": "malignant against benign nodules, at their annotated places; nodules without "
    "a verdict are left out",
    "segmentation": "a nodule's voxels are made from its annotated centre and diameter; a voxel "
    "is marked where its probability is above the threshold",
}
TABLES = (ANNOTATIONS, CANDIDATES, OLD_CANDIDATES, MALIGNANCY)
PLACES = Nouns(items="known places", right="positive places", wrong="negative places")


def judge_network(
    network: Network, data: Luna16, scans: Mapping[str, Path], out: Path, listener: Listener
) -> tuple[Page, Mapping[str, str]]:
    """Run the network on every scan, score its answers, and write the evaluation.

    Returns what the page shows, and why scans have no result, by series UID. Raises InputError
    when there is nothing to score.
    """
    results = results_folder(out, network.bundle)
    clear(out, CONCLUSIONS, results)
    record = record_run(sys.argv, dump_config(network.config), str(network.device))
    write_record(record, out / RECORD)
    scorable_rows(network, scans)  # before anything is computed
    done = run_scans(scans, network, results, listener)
    if not done.results:
        raise InputError("no scan could be read", hint="the reasons are above")
    rows = scorable_rows(network, done.results)
    counts = [len(network.rows[uid]) for uid in done.results]
    series = np.repeat(np.arange(len(counts)), counts)
    score = _segmenter if network.segments else _classifier
    page = score(network, rows, series, [*done.results.values()])
    with_nodules = len(np.unique(series[np.isfinite(rows[:, 3])]))
    page = _finished(page, network, data.root, done.failures, len(counts), with_nodules)
    write_page(out, page)
    return page, done.failures


def results_folder(out: Path, bundle: Bundle) -> Path:
    """Return the folder in which the results of single scans are kept."""
    return out / f"{RESULTS}-{bundle.card.role}"


def scorable_rows(network: Network, uids: Iterable[str]) -> FloatArray:
    """Return what the network is asked about scans, one after another.

    Raises InputError for a segmenter without a nodule, a classifier without both kinds.
    """
    rows = np.concatenate([network.rows[uid] for uid in uids])
    positive = int((rows[:, 4] == 1).sum())
    hint = "take more scans, or check the tables beside them"
    if network.segments and not len(rows):
        raise InputError("none of the scans has an annotated nodule", hint=hint)
    if not network.segments and positive in (0, len(rows)):
        raise InputError(
            f"{positive:,} of {len(rows):,} places are positive",
            why="a classifier is scored on positive and negative places",
            hint=hint,
        )
    return rows


def _classifier(
    network: Network, rows: FloatArray, series: NDArray[np.intp], results: Sequence[Json]
) -> Page:
    """Score probabilities at places: AUC beside that of diameter, calibration, recall by size."""
    scoring = network.scoring
    samples, seed = scoring.samples, scoring.seed
    p = np.concatenate([np.array(each["p"], np.float64) for each in results])
    diameter_mm, positive = rows[:, 3], rows[:, 4] == 1
    found = curves(p, positive, series, threshold=scoring.threshold, samples=samples, seed=seed)
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
    note = _note(network, len(results), places, interval_words(scoring))
    by_size, bands = _by_size((p >= scoring.threshold)[positive], diameter_mm[positive])
    beside = "" if diameter is None else f"; diameter alone {diameter.roc.auc:.3f}"
    interval = span(found.roc.bootstrap or found.roc.delong)
    values = {"classifier": found, "calibration": calibration, "diameter": diameter, "gain": gain}
    return Page(
        title="the classifier at known places",
        headline=("AUC", f"{found.roc.auc:.3f}", f" (95 %: {interval}){beside}."),
        footnote=note,
        sections=(_figures(shown, note), by_size),
        images=classifier_plots(found, calibration, PLACES, note, note, diameter),
        scalars={"auc": found.roc.auc, "average_precision": found.average_precision},
        record={"places": len(p), **plain(values), "size_bands": bands},
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
    by_size, bands = _by_size(touched, rows[:, 3])
    return Page(
        title=f"the segmenter at threshold {network.scoring.threshold:g}",
        headline=("Dice of all voxels", shown[2][1], f"; {shown[3][1]} of the nodules hit."),
        footnote=note,
        sections=(_figures(shown, note), by_size),
        images={},
        scalars=found,
        record={"shares": found, "size_bands": bands},
    )


def _by_size(found: NDArray[np.bool_], diameter_mm: FloatArray) -> tuple[Section, Json]:
    """Return the recall of nodules by band of diameter, as a table and by the band's name."""
    names, labels = band_labels(diameter_mm)
    rows: list[Row] = []
    bands: Json = {}
    for name in names:
        hits, nodules = int(found[labels == name].sum()), int((labels == name).sum())
        if nodules:
            recall, interval = hits / nodules, wilson_interval(hits, nodules)
            rows.append((name, f"{nodules:,}", f"{recall:.3f}", span(interval)))
            counts = {"nodules": nodules, "found": hits}
            bands[name] = {**counts, "recall": recall, "interval": plain(interval)}
    header = ("diameter", "nodules", "recall", "95 %")
    title = "Nodules found, by diameter"
    return Section(title=title, header=header, rows=tuple(rows), footnote=INDEPENDENT), bands


def _figures(rows: Sequence[Row], note: str) -> Section:
    header = ("", "value", "95 % or detail")
    return Section(title="Figures", header=header, rows=tuple(rows), footnote=note)


def _note(network: Network, scans: int, what: str, *more: str) -> str:
    rule = f"{counted(scans, 'scan')}; {what}. Rule: {RULES[network.bundle.card.role]}."
    return " ".join([rule, *more])


def _finished(
    page: Page, network: Network, root: Path, failures: Mapping[str, str], read: int, nodules: int
) -> Page:
    """Add what every network's page has: its card, its inputs, the scans without a result.

    `read`: scans with a result; `nodules`: those of them that hold a nodule.
    """
    card, warnings, scans = network.bundle.card, few_scans(nodules), read + len(failures)
    if failures:
        left_out = f"{len(failures)} of {scans} scans have no result and are left out"
        warnings.insert(0, left_out)
    tables = [root / name for name in TABLES if (root / name).exists()]
    judged = {"role": card.role, "name": card.name, "sha256": card.weights_sha256}
    sources = sources_of((path.stem, path) for path in tables)
    cohort = {
        "scans": scans,
        "scans_with_nodules": nodules,
        "scans_without_result": len(failures),
    }
    return replace(
        page,
        title=f"{card.name}: {page.title}",
        warnings=(*warnings, *([card.notice.rstrip(".")] if card.notice else [])),
        details=failed_scans(failures, "They are left out of all scores."),
        sources=(judged, *sources),
        record={
            "network": judged,
            "config": {**plain(network.config), "threshold": network.scoring.threshold},
            "cohort": cohort,
            **page.record,
            "warnings": warnings,
            "inputs": sources,
        },
    )

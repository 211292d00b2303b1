"""One network alone, scored and shown: tables, plots and one page."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from luna.data.luna16.folder import ANNOTATIONS, CANDIDATES, MALIGNANCY, OLD_CANDIDATES
from luna.evaluate.folder import CONCLUSIONS, RECORD, clear
from luna.evaluate.metrics import plain
from luna.evaluate.network import Network, ask_classifier, count_voxels
from luna.evaluate.pages.footnote import counted, interval_words
from luna.evaluate.pages.page import Page, sources_of, write_page
from luna.evaluate.pages.plots import INDEPENDENT, Nouns, classifier_plots, shares_plot
from luna.evaluate.pages.tables import (
    Row,
    Section,
    auc_rows,
    classifier_rows,
    failed_scans,
    share_cells,
    signed_span,
    span,
)
from luna.run.config import dump_config
from luna.run.progress import Listener
from luna.run.record import record_run, write_record
from luna.score.decisions import Answers, Decisions, decisions
from luna.score.evaluation import EvaluationConfig
from luna.score.overlap import OVERLAP_WORDS, VoxelCounts, overlap
from luna.score.ratios import Band
from luna.score.warnings import few_scans

RULES = {
    "nodule": "a candidate is positive when the table of candidates says so",
    "malignancy": "malignant against benign nodules, at their annotated places; nodules without "
    "a verdict are left out",
    "segmentation": "a nodule's voxels are made from its annotated centre and diameter; a voxel "
    "is marked where its probability is above the threshold",
}
TABLES = {
    "nodule": (ANNOTATIONS, CANDIDATES, OLD_CANDIDATES),
    "malignancy": (ANNOTATIONS, MALIGNANCY),
    "segmentation": (ANNOTATIONS,),
}
NOUNS = {
    "nodule": Nouns(items="candidates", right="nodules", wrong="other candidates"),
    "malignancy": Nouns(items="nodules", right="malignant nodules", wrong="benign nodules"),
}


def judge_network(network: Network, listener: Listener) -> tuple[Page, Mapping[str, str]]:
    """Ask the network about every scan, score its answers, and write the evaluation.

    Returns what the page shows, and why scans have no result, by series UID.
    """
    config, card = network.config, network.bundle.card
    clear(network.out, CONCLUSIONS, network.results)
    record = record_run(sys.argv, dump_config(config), str(network.device), config.seed)
    write_record(record, network.out / RECORD)
    if card.role == "segmentation":
        scoring = config.scoring(config.segment.threshold or card.threshold)
        counts, failures = count_voxels(network, listener)
        page = _segmenter(counts, scoring)
    else:
        scoring = config.scoring(config.threshold or card.threshold)
        answers, failures = ask_classifier(network, listener)
        page = _classifier(answers, scoring, card.role)
    page = _finished(page, network, scoring, failures)
    write_page(network.out, page)
    return page, failures


def _classifier(answers: Answers, config: EvaluationConfig, role: str) -> Page:
    found = decisions(answers, config)
    auc, positive = found.classifier.roc, int(answers.positive.sum())
    head = (
        f"{counted(answers.scans, 'scan')}; {positive:,} positive and "
        f"{len(answers.positive) - positive:,} negative places. Rule: {RULES[role]}. "
    )
    note = head + interval_words(config)
    interval = span(auc.bootstrap or auc.delong)
    beside = "" if not found.diameter else f"; diameter alone {found.diameter.roc.auc:.3f}"
    plots = classifier_plots(
        found.classifier, found.calibration, NOUNS[role], note, head + INDEPENDENT, found.diameter
    )
    title = "The classifier at known places"
    rows = classifier_rows(found.classifier, found.calibration) + _diameter(found)
    scored = answers.series[answers.positive] if role == "nodule" else answers.series
    return Page(
        title=title,
        headline=(
            "AUC",
            f"{auc.auc:.3f}",
            f" (95 %: {interval}){beside}.",
        ),
        footnote=note,
        sections=(
            _figures(title, rows, note),
            _sizes(f"Recall at the threshold {config.threshold:g}", found.size_bands, note),
        ),
        images={**plots, "size_bands.png": shares_plot(found.size_bands, note)},
        scalars={
            "auc": auc.auc,
            "average_precision": found.classifier.average_precision,
            "best_f1": found.classifier.best_f1.f1,
            "calibration_error": found.calibration.ece,
            **({"diameter_alone/auc": found.diameter.roc.auc} if found.diameter else {}),
        },
        record={
            "cohort": {"scans": answers.scans, "scans_with_nodules": len(np.unique(scored))},
            "places": len(answers.p),
            **plain(found),
        },
    )


def _diameter(found: Decisions) -> tuple[Row, ...]:
    """Return the rows of the baseline: the same nodules ranked by diameter."""
    if found.diameter is None:
        return ()
    rows = auc_rows("diameter alone: ROC AUC", found.diameter.roc)
    if found.gain is not None:
        detail = (
            f"{signed_span(found.gain.interval)} (paired bootstrap), p {found.gain.p_value:.3f}"
        )
        rows.append(("  what the network adds", f"{found.gain.difference:+.3f}", detail))
    best = found.diameter.best_f1
    detail = (
        f"from {best.threshold:.1f} mm: precision {best.precision:.3f}, recall {best.recall:.3f}"
    )
    return (*rows, ("diameter alone: best F1", f"{best.f1:.3f}", detail))


def _segmenter(counts: VoxelCounts, config: EvaluationConfig) -> Page:
    found = overlap(counts, config)
    shares, scans = found.shares, len(counts.slices)
    with_nodules = len(np.unique(counts.series))
    note = (
        f"{counted(scans, 'scan')}, {with_nodules:,} with nodules; "
        f"{counted(len(counts.series), 'nodule')}; {shares['voxel_recall'].whole:,.0f} voxels of "
        f"nodules. Rule: {RULES['segmentation']}. {interval_words(config)}"
    )
    rows = tuple((words, *share_cells(shares[name])) for name, words in OVERLAP_WORDS.items())
    (dice, interval), (touched, _) = (share_cells(shares[n]) for n in ("voxel_dice", "touched"))
    title = f"The segmenter at threshold {config.threshold:g}"
    return Page(
        title=title,
        headline=(
            "Dice of all voxels",
            dice,
            f" (95 %: {interval}); {touched} of the nodules hit.",
        ),
        footnote=note,
        sections=(
            _figures(title, rows, note),
            _sizes("Nodules and their voxels", found.size_bands, note),
        ),
        images={"size_bands.png": shares_plot(found.size_bands, note)},
        scalars={name: share.value for name, share in shares.items() if share.value is not None},
        record={
            "cohort": {"scans": scans, "scans_with_nodules": with_nodules},
            **plain(found),
        },
    )


def _figures(title: str, rows: tuple[Row, ...], note: str) -> Section:
    header = ("", "value", "95 % or detail")
    return Section(title=title, header=header, rows=rows, footnote=note)


def _sizes(title: str, bands: tuple[Band, ...], note: str) -> Section:
    names = [*bands[0].shares] if bands else []
    rows = []
    for band in bands:
        cells = [cell for share in band.shares.values() for cell in share_cells(share)]
        rows.append((band.name, f"{band.shares[names[0]].whole:,.0f}", *cells))
    columns = [column for name in names for column in (name.replace("_", " "), "95 %")]
    return Section(
        title=f"{title}, by diameter",
        header=("diameter", "nodules", *columns),
        rows=tuple(rows),
        footnote=note,
    )


def _finished(
    page: Page, network: Network, config: EvaluationConfig, failures: Mapping[str, str]
) -> Page:
    """Add what every network's page has: its card, its inputs, the scans without a result."""
    card, cohort = network.bundle.card, page.record["cohort"]
    cohort |= {"scans": len(network.scans), "scans_without_result": len(failures)}
    warnings = few_scans(cohort["scans_with_nodules"])
    if failures:
        left_out = f"{len(failures)} of {cohort['scans']} scans have no result and are left out"
        warnings.insert(0, left_out)
    paths = [network.data.root / name for name in TABLES[card.role]]
    sources = sources_of((path.stem, path) for path in paths if path.exists())
    judged = {"role": card.role, "name": card.name, "sha256": card.weights_sha256}
    record = {
        "network": judged,
        "intervals": interval_words(config),
        "config": plain(config),
        **page.record,
        "warnings": warnings,
        "inputs": sources,
    }
    return replace(
        page,
        title=f"{card.name}: {page.title[0].lower()}{page.title[1:]}",
        warnings=(*warnings, *([card.notice.rstrip(".")] if card.notice else [])),
        lists=failed_scans(failures, "They are left out of every number."),
        sources=(judged, *sources),
        record=record,
    )

"""`luna diagnose` of many scans: find them, diagnose each, and list them all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from luna.cli import options
from luna.cli.console import (
    listener_by_line,
    note,
    print_data,
    print_lines,
    print_table,
    progress,
    stage,
    warn,
)
from luna.cli.output import folder_beside
from luna.clinical.size import axes_words
from luna.report.words import probability_words
from luna.run.errors import PartialFailure, UsageError

if TYPE_CHECKING:
    from luna.ct.listing.find import Listing
    from luna.ct.scan import Scan
    from luna.report.batch.run import Outcome
    from luna.report.batch.scan import Order
    from luna.report.batch.summary import Summary
    from luna.report.dicom.results import Choice
    from luna.run.batch import Shard

ROWS_MAX = 40
"""Most scans, or failures, that a terminal shows; the index in the folder has all."""

HEADER = ("scan", "result", "findings", "p", "malig", "axes mm")

REPORTS = Path("luna-reports")

WRITTEN = (".", "report.", "nodules.", "detections.", "growth.", "source.", "measurements.", "key-")
"""How the names of a report's files begin; beside others there may be a scan."""


def inputs(
    scans: Sequence[Path] | None, scan_list: Path | None, weights: Sequence[Path] | None
) -> list[Path]:
    """Return every path that is read. Raises UsageError for one that is missing, and for none."""
    if not scans and scan_list is None:
        raise UsageError("no scan is named", hint="give a path, or a table with --list")
    named = [*(scans or ()), *([scan_list] if scan_list else ())]
    options.refuse_missing(named, weights)
    _refuse_reports(scans or ())
    return [*named, *(weights or ())]


def _refuse_reports(scans: Sequence[Path]) -> None:
    """Raise UsageError for a folder that luna wrote: its label volume is no scan."""
    for path in filter(Path.is_dir, scans):
        from luna.ct.listing.tree import REPORT  # loads pydicom

        names = {file.name for file in path.iterdir()}
        if set(REPORT) <= names and all(name.startswith(WRITTEN) for name in names):
            raise UsageError(
                "this is a report folder of luna, not a scan",
                file=path,
                hint="give the scan that it was made from",
            )


def folder_for(scans: Sequence[Path]) -> Path:
    """Return the folder for the results where none is named."""
    return folder_beside(scans[0]) if len(scans) == 1 else REPORTS


def find(
    scans: Sequence[Path],
    scan_list: Path | None,
    series: str | None,
    choose: Literal["thinnest", "largest", "all"] | None,
    out: Path,
    crew: options.Crew,
    priors: Literal["auto"] | None = None,
    *,
    quiet: bool,
) -> Scan | Listing:
    """Read the one scan, or list the many, before torch is loaded, which takes longer.

    Other machines and other shares take a list, of paths that name the same for all of them. Where
    priors are found, all scans of a patient are in one share.
    """
    from luna.ct.listing.find import Listing, read_or_list
    from luna.ct.listing.priors import find_priors

    scans, scan_list = [crew.path(path) for path in scans], scan_list and crew.path(scan_list)
    listed, shard = priors is not None or crew != options.Crew(None, None), crew.shard
    with progress(quiet=quiet) as advance, stage(advance, "read"):
        found = read_or_list(
            scans, table=scan_list, series=series, choose=choose, out=out, listed=listed
        )
    if not isinstance(found, Listing):
        return found
    found = found if priors is None else replace(found, priors=find_priors(found.sources))
    return found if shard is None else _share(found, shard)


def _share(listing: Listing, shard: Shard) -> Listing:
    damaged, priors = shard.of(listing.damaged), listing.priors
    if priors is None:
        return replace(listing, sources=shard.of(listing.sources), damaged=damaged)
    sources = {n: s for n, s in listing.sources.items() if shard.holds(priors.patients[n])}
    own = {name: prior for name, prior in priors.of.items() if name in sources}
    return replace(listing, sources=sources, damaged=damaged, priors=replace(priors, of=own))


def show_plan(
    found: Scan | Listing, models: dict[str, str], out: Path, path: Path, dicom: Choice | None
) -> None:
    """Print the plan of a dry run; `path` is that of one scan, `dicom` what the user asked for.

    Raises what the run itself would, where the objects cannot be made.
    """
    from luna.ct.scan import Scan

    if isinstance(found, Scan):
        shape = " × ".join(str(n) for n in found.shape_irc)
        lines = [f"would diagnose series {found.series_uid}, {shape} voxels"]
    else:
        lines = [*found.sentences(), *(_planned(name, found) for name in found.sources)]
    what = "a report" if isinstance(found, Scan) else "reports"
    print_lines(
        *lines,
        *(f"with {name} for {role}" for role, name in models.items()),
        *_objects(found, path, dicom),
        f"and write {what} to {out}",
    )


def _objects(found: Scan | Listing, path: Path, dicom: Choice | None) -> list[str]:
    """Say which DICOM objects would be written; of many scans nobody knows before they are read."""
    from luna.ct.scan import Scan
    from luna.report.dicom.results import SEG_NAME, SR_NAME, results_of

    if not isinstance(found, Scan):
        return [f"with --dicom {dicom} for every scan"] if dicom else []
    results, why_none = results_of(path, found, dicom)
    if results is None:
        return [why_none or "without DICOM results"]
    more = ", key images and the report as a PDF" if results.everything else ""
    return [f"with {SEG_NAME} and {SR_NAME}{more}"]


def _planned(name: str, listing: Listing) -> str:
    prior = listing.priors and listing.priors.of.get(name)
    return f"would diagnose {name}" + (f", after its prior {prior}" if prior else "")


def diagnose_all(
    listing: Listing,
    order: Order,
    crew: options.Crew,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Diagnose every scan, show the outcomes, and fail if one has no result."""
    from luna.report.batch.folder import PAGE
    from luna.report.batch.run import diagnose_scans
    from luna.run.batch import Failed

    note(*listing.sentences(), quiet=quiet)
    for file, reason in listing.damaged.items():
        warn(f"{file}: {reason}")
        if as_json:
            print_data(json.dumps({"file": file, "outcome": "failed", "reason": reason}))

    def each(name: str, outcome: Outcome) -> None:
        if as_json:
            print_data(json.dumps(_values(name, outcome, listing, order), ensure_ascii=False))
        if not isinstance(outcome, Failed) and outcome.result.prior_refused:
            entry = outcome.result
            warn(f"{name} is not compared with its prior {entry.prior}: {entry.prior_refused}")

    listener = listener_by_line(quiet=quiet)
    shard = crew.shard
    summary = diagnose_scans(
        listing, order, sys.argv, listener, each, cluster=crew.cluster, listed=shard is None
    )
    if not as_json:
        print_table(HEADER, list(_rows(summary)), left=(True, True, False, False, False, False))
        place = f"list: {order.out / PAGE}" if shard is None else _shard_line(shard)
        print_lines(_counts_line(summary), place)
    _refuse_failures(summary)


def _values(name: str, outcome: Outcome, listing: Listing, order: Order) -> dict[str, Any]:
    """Return a line of `--json`: the outcome of a scan, and where its report is."""
    from luna.run.batch import Failed

    values = {"scan": name, "path": str(listing.sources[name].path)}
    if isinstance(outcome, Failed):
        return {**values, "outcome": "failed", "reason": outcome.reason}
    word = "kept" if outcome.kept else "done"
    report = str(order.out / name / "report.html")
    return {**values, "outcome": word, "report": report, **asdict(outcome.result)}


def _rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    for entry in summary.ordered()[:ROWS_MAX]:
        worst = entry.worst
        p = (worst.p_nodule, worst.p_malignant) if worst else (None, None)
        yield (
            entry.folder,
            entry.status,
            str(entry.findings + entry.opacities),
            *map(probability_words, p),
            "×".join(axes_words(worst.long_axis_mm, worst.short_axis_mm)[:2]) if worst else "–",
        )


def _counts_line(summary: Summary) -> str:
    counts = ", ".join(f"{n} {status}" for status, n in summary.counts().items() if n)
    more = len(summary.entries) - ROWS_MAX
    return f"{counts}; {more} more are in the list" if more > 0 else counts


def _shard_line(shard: Shard) -> str:
    return f"share {shard}; when all are done, the same command without --shard writes the list"


def _refuse_failures(summary: Summary) -> None:
    """Raise PartialFailure with the scans and files that have no result."""
    sources = summary.listing.sources
    reasons = [(str(sources[name].path), reason) for name, reason in summary.failures.items()]
    reasons += summary.listing.damaged.items()
    if not reasons:
        return
    shown = [f"\n  {file}: {reason}" for file, reason in reasons[:ROWS_MAX]]
    more = len(reasons) - ROWS_MAX
    raise PartialFailure(
        f"{len(reasons)} scans or files have no result",
        why="".join(shown) + (f"\n  and {more} more" if more > 0 else ""),
        hint="correct or leave out these, then run the same command again; the others are done",
    )

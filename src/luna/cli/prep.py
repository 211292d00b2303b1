"""`luna prep`: a LUNA16 folder into a cache that training reads."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli import options
from luna.cli.console import duration, note, print_data, print_lines, progress, warn
from luna.run.errors import PartialFailure

if TYPE_CHECKING:
    from luna.data.luna16 import Luna16
    from luna.data.prep import Plan, PrepReport, Step

TOLD_EVERY_S = 10.0
"""Progress in lines comes this often; a failure is told at once."""

FAILURES_SHOWN = 5
GIB = 1 << 30


def prep(
    data: Annotated[
        Path, typer.Argument(help="LUNA16 folder: subset0 … subset9, annotations, candidates.")
    ],
    cache: Annotated[
        Path, typer.Option(help="Folder for the prepared data; made when it is not there.")
    ],
    detections: Annotated[
        Path | None,
        typer.Option(help="Marks in LUNA16's format; they become candidates, hard negatives."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; without it, as many as cores and memory allow."),
    ] = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    dry_run: options.DryRun = False,
) -> None:
    """Read every scan of a cohort once and store what training needs.

    A run that was stopped goes on where it was; run it again after adding scans or changing
    tables. Training reads the cache alone: the CT files may then be moved away.

    \b
      luna phantom cohort/ --scans 8
      luna prep cohort/ --cache cache/ --dry-run
      luna prep cohort/ --cache cache/
      luna prep LUNA16/ --cache cache/ --set slices="all" --set nodule_mask="book"
      luna prep LUNA16/ --cache cache/ --detections evaluation/detections.csv
    """
    from luna.data.prep import default_workers, plan, refuse_small_disk
    from luna.data.prep import prep as prepare
    from luna.data.prep_scan import PrepConfig
    from luna.run.config import load_config

    settings = load_config(PrepConfig, config, overrides or ())
    cohort = read_cohort(data, detections, quiet=quiet)
    planned = plan(cohort, cache, settings)
    if dry_run:
        show_plan(planned, cache, as_json=as_json)
        refuse_small_disk(cache, planned)
        return
    with progress(quiet=quiet) as advance:

        def tell(step: Step) -> None:
            advance("prep", step.number, step.scans)
            lines(step)

        lines = teller(quiet=quiet)
        report = prepare(cohort, cache, settings, workers or default_workers(), tell, warn)
    show(report, cache, as_json=as_json, known=len(cohort.notices))


def read_cohort(data: Path, detections: Path | None, *, quiet: bool) -> Luna16:
    """The cohort's tables, with the marks of a system if they are given; says what is left out."""
    from luna.data.hard_negatives import add_detections
    from luna.data.luna16 import read_luna16

    cohort = read_luna16(data)
    if detections is not None:
        before = len(cohort.candidates.series)
        cohort = add_detections(cohort, detections)
        added = len(cohort.candidates.series) - before
        note(f"{detections.name}: {added} marks added to {before} candidates", quiet=quiet)
    for line in cohort.notices:
        note(str(line), quiet=quiet)
    return cohort


def teller(*, quiet: bool) -> Callable[[Step], None]:
    """Tells where the run is every so often, and each failure as it comes."""
    told = time.monotonic()

    def tell(step: Step) -> None:
        nonlocal told
        if step.outcome not in ("done", "kept"):
            warn(f"{step.uid}: {step.outcome}")
        if time.monotonic() - told < TOLD_EVERY_S:
            return
        told = time.monotonic()
        left = duration(step.seconds_left)
        note(
            f"{step.number}/{step.scans} scans, {step.candidates_per_s:.0f} candidates/s, "
            f"about {left} left",
            quiet=quiet,
        )

    return tell


def show_plan(planned: Plan, cache: Path, *, as_json: bool) -> None:
    """What a dry run found out."""
    if as_json:
        from dataclasses import asdict

        print_data(json.dumps(asdict(planned), indent=2))
        return
    print_lines(
        f"would prepare {planned.scans - planned.done} of {planned.scans} scans into {cache}",
        f"{planned.candidates} candidates in all",
        f"{planned.needed_bytes / GIB:.2f} GiB needed at most, "
        f"{planned.free_bytes / GIB:.2f} GiB free",
    )


def show(report: PrepReport, cache: Path, *, as_json: bool, known: int) -> None:
    """What was done; raises PartialFailure when a scan failed."""
    for line in report.notices[known:]:
        warn(str(line))
    if as_json:
        from dataclasses import asdict

        notices = [str(line) for line in report.notices]
        print_data(json.dumps({**asdict(report), "notices": notices}, indent=2))
    else:
        again = f", {report.kept} of them from an earlier run" if report.kept else ""
        print_lines(
            f"{report.scans} scans{again}, {report.candidates} candidates, "
            f"{report.stored_bytes / GIB:.2f} GiB in {cache}, {report.seconds:.1f} s"
        )
    if report.failed:
        rows = [f"{uid}: {why}" for uid, why in report.failed.items()]
        more = len(rows) - FAILURES_SHOWN
        raise PartialFailure(
            f"{len(rows)} of {report.scans + len(rows)} scans could not be prepared",
            why="; ".join(rows[:FAILURES_SHOWN]) + (f"; and {more} more" if more > 0 else ""),
            hint="the others are ready; mend or remove these and run the same command again",
        )

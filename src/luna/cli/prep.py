"""`luna prep`: a LUNA16 folder into a cache that training reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli import options
from luna.cli.console import listening, note, print_data, print_lines, warn
from luna.run.errors import PartialFailure

if TYPE_CHECKING:
    from luna.data.luna16.folder import Luna16
    from luna.data.prep.cohort import PrepReport
    from luna.data.prep.config import CandidateConfig
    from luna.data.prep.plan import Plan

FAILURES_SHOWN = 5
MIB, GIB = 1 << 20, 1 << 30


def prep(
    data: Annotated[
        Path, typer.Argument(help="LUNA16 folder: subset0 … subset9, annotations, candidates.")
    ],
    cache: Annotated[
        Path, typer.Option(help="Folder for the prepared data; created if it does not exist.")
    ],
    detections: Annotated[
        Path | None,
        typer.Option(help="Marks in LUNA16's format to add as candidates (hard negatives)."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of processes; default: as many as cores and memory allow."
        ),
    ] = None,
    cluster: options.ClusterName = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    dry_run: options.DryRun = False,
) -> None:
    """Read every scan of a cohort once and store what training needs.

    Run the same command again to continue an interrupted run, and after adding
    scans or changing a table; what is still valid is kept. Training reads only
    the cache, so the CT files may then be moved. A scan that cannot be read does
    not stop the others; the exit code is 5. With --cluster its workers read the
    scans, and this process stores them.

    Examples:

      luna prep cohort/ --cache cache/ --dry-run

      luna prep LUNA16/ --cache cache/ --set slices=all --set nodule_mask=book

      luna prep LUNA16/ --cache cache/ --detections evaluation/detections.csv
    """
    from luna.data.prep.cohort import prep as prepare
    from luna.data.prep.config import PrepConfig
    from luna.data.prep.plan import default_workers, plan

    settings = options.settings(PrepConfig, config, overrides, print_only=print_config)
    crew = options.crew_of(cluster, None, "cpu", None)
    cohort = read_cohort(crew.path(data), detections, settings.candidates, quiet=quiet)
    if dry_run:
        show_plan(plan(cohort, cache, settings), cache, as_json=as_json)
        return
    with listening(quiet=quiet) as listener:
        report = prepare(
            cohort, cache, settings, workers or default_workers(), listener, cluster=crew.cluster
        )
    show(report, cache, as_json=as_json, known=len(cohort.notices))


def read_cohort(
    data: Path, detections: Path | None, candidates: CandidateConfig, *, quiet: bool
) -> Luna16:
    """Read the tables, add the candidates that were asked for, and say what is left out."""
    from luna.data.luna16.annotated import add_annotations
    from luna.data.luna16.excluded import without_excluded
    from luna.data.luna16.folder import read_luna16
    from luna.data.luna16.marks import add_detections

    cohort = read_luna16(data)
    listed = len(cohort.candidates)
    if detections is not None:
        cohort = add_detections(cohort, detections)
        added = len(cohort.candidates) - listed
        note(f"{detections.name}: {added} marks added to {listed} candidates", quiet=quiet)
    if candidates.without_excluded:
        before = len(cohort.candidates)
        cohort = without_excluded(cohort)
        left_out = before - len(cohort.candidates)
        note(f"{left_out} of {before} candidates lie in excluded findings", quiet=quiet)
    if candidates.from_annotations:
        before = len(cohort.candidates)
        cohort = add_annotations(cohort)
        added = len(cohort.candidates) - before
        note(f"{added} annotated nodules added to {before} candidates", quiet=quiet)
    for line in cohort.notices:
        warn(str(line))
    return cohort


def show_plan(planned: Plan, cache: Path, *, as_json: bool) -> None:
    """Print the plan of a run; raises EnvironmentFault if the disk is too small for it."""
    from luna.data.prep.plan import refuse_small_disk

    if as_json:
        from dataclasses import asdict

        print_data(json.dumps(asdict(planned), indent=2))
    else:
        print_lines(
            f"{planned.scans} scans, {planned.done} of them already in {cache}",
            f"{planned.candidates} candidates",
            f"{size(planned.needed_bytes)} needed at most, {size(planned.free_bytes)} free",
        )
    refuse_small_disk(cache, planned)


def show(report: PrepReport, cache: Path, *, as_json: bool, known: int) -> None:
    """Print what was done; raises PartialFailure when a scan failed."""
    for line in report.notices[known:]:
        warn(str(line))
    if as_json:
        from dataclasses import asdict

        notices = [str(line) for line in report.notices]
        print_data(json.dumps({**asdict(report), "notices": notices}, indent=2))
    else:
        again = f" ({report.kept} of them from an earlier run)" if report.kept else ""
        print_lines(
            f"{report.scans} scans{again}, {report.candidates} candidates, "
            f"{size(report.stored_bytes)} in {cache}"
        )
    if report.failed:
        scans = report.scans + len(report.failed)
        raise PartialFailure(
            f"{len(report.failed)} of {scans} scans could not be prepared",
            why="; ".join(f"{uid}: {why}" for uid, why in [*report.failed.items()][:FAILURES_SHOWN])
            + ("; …" if len(report.failed) > FAILURES_SHOWN else ""),
            hint="the others are ready; correct or remove these, then run the same command again"
            if report.scans
            else "no scan could be read: is their disk there? What an earlier run prepared stays",
        )


def size(count: int) -> str:
    """Return a number of bytes in MiB or GiB."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"

"""`luna evaluate`: score the whole pipeline over a cohort, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli import options
from luna.cli.console import listener_by_line, note, print_data, print_lines, print_table, warn
from luna.cli.output import claim_evaluation, claim_folder
from luna.run.errors import PartialFailure, UsageError

if TYPE_CHECKING:
    import torch

    from luna.data.luna16.folder import Luna16
    from luna.evaluate.calibration import Calibrated
    from luna.evaluate.pages.page import Page
    from luna.evaluate.system import System
    from luna.nets.models import Models
    from luna.run.batch import Shard

SCANS, SCORES = "Scans", "Scores"

Data = Annotated[Path, typer.Argument(help="Folder of scans in the layout of LUNA16.")]
Fold = Annotated[
    int | None,
    typer.Option(min=0, max=9, help="Use only the scans of this subset.", rich_help_panel=SCANS),
]
SeriesList = Annotated[
    Path | None,
    typer.Option(
        help="Use only the scans in this file, one series UID a line.", rich_help_panel=SCANS
    ),
]


def evaluate(
    data: Data,
    out: options.Out,
    weights: options.Weights = None,
    fold: Fold = None,
    series_list: SeriesList = None,
    versus: Annotated[
        list[Path] | None,
        typer.Option(
            help="Marks of a second system, for a paired comparison: a CSV file or the folder of "
            "an evaluation.",
            rich_help_panel=SCORES,
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="New folder for calibrated bundles: fit the temperature to these scans, and "
            "choose the threshold for fp_per_scan.",
            rich_help_panel=SCORES,
        ),
    ] = None,
    faithful: options.Faithful = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    workers: options.Workers = 1,
    cluster: options.ClusterName = None,
    shard: options.ShardName = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Run the pipeline over a cohort and score its marks as the LUNA16 challenge does.

    Prints tables and writes evaluation.html, metrics.json, detections.csv,
    froc.csv, nodules.csv and plots. Run the same command again to continue an
    interrupted run; finished scans are not computed again. A scan that cannot be
    read does not stop the others; it counts as a scan without a mark, and the
    exit code is 5.

    Examples:

      luna evaluate LUNA16/ --weights models/ --fold 9 --out evaluation/

      luna evaluate LUNA16/ --weights models/ --fold 8 --out tuning/
      --calibrate calibrated/ --set fp_per_scan=0.5
    """
    from luna.evaluate.cohort import CohortConfig
    from luna.evaluate.scans import chosen_scans
    from luna.evaluate.system import System, calibrated, judge_system

    settings = options.settings(CohortConfig, config, overrides, print_only=print_config)
    crew = options.crew_of(cluster, shard, device, threads)
    processor, models = computing(device, weights, crew)
    cohort, scans = chosen_scans(crew.path(data), fold, series_list, crew.shard)
    system = System(
        data=cohort, scans=scans, models=models, config=settings, faithful=faithful,
        device=processor, out=crew.path(out), workers=workers, cluster=crew.cluster,
        versus=versus or (), calibrate=calibrate,
    )  # fmt: skip
    claim(system, crew, [data, *filter(None, [series_list])], force=force, dry_run=dry_run)
    note_start(cohort, processor, models.left_out, quiet=quiet)
    if dry_run:
        return show_plan(system)
    if crew.shard is not None:
        return evaluate_share(system, crew.shard, quiet=quiet)
    judged = judge_system(system, listener_by_line(quiet=quiet))
    show_page(judged.page, out, as_json=as_json, quiet=quiet)
    refuse_failures(judged.failures, len(scans), "they count as scans without a mark")
    return note_calibrated(calibrated(system, judged.evaluation), quiet=quiet)


def computing(
    device: str, weights: list[Path] | None, crew: options.Crew
) -> tuple[torch.device | str, Models]:
    """Return the processor, or its name for workers to choose by, and the networks."""
    from luna.nets.models import SHIPPED, load_models
    from luna.run.device import choose_device

    processor = choose_device(device, warn) if crew.cluster is None else device
    return processor, load_models(weights or [Path(SHIPPED)])


def claim(
    system: System, crew: options.Crew, inputs: list[Path], *, force: bool, dry_run: bool
) -> None:
    """Hold the folders of an evaluation; a share of the scans makes no bundles."""
    from luna.evaluate.cohort import RESULTS
    from luna.evaluate.folder import EVERYTHING

    if crew.shard is not None and system.calibrate is not None:
        raise UsageError("--calibrate needs all scans", hint="leave out --shard")
    claim_evaluation(
        system.out, [*inputs, *system.versus], EVERYTHING, results=system.out / RESULTS,
        force=force, dry_run=dry_run, shard=crew.shard,
    )  # fmt: skip
    if system.calibrate is not None:  # never a folder that holds anything, a bundle least of all
        claim_folder(system.calibrate, force=False, dry_run=dry_run, option="--calibrate")


def evaluate_share(system: System, shard: Shard, *, quiet: bool) -> None:
    """Diagnose a share of the scans, whose results wait for the run over all of them."""
    from luna.evaluate.system import diagnose_share

    failures = diagnose_share(system, listener_by_line(quiet=quiet))
    done = len(system.scans) - len(failures)
    print_lines(f"share {shard}: {done} scans; the same command without --shard scores all")
    refuse_failures(failures, len(system.scans), "a run over all scans tries them again")


def note_start(
    cohort: Luna16, device: torch.device | str, left_out: str = "", *, quiet: bool
) -> None:
    """Print what was skipped of weights and tables, and the device that is used."""
    lines = [left_out, *map(str, cohort.notices), f"computing on {device}"]
    note(*filter(None, lines), quiet=quiet)


def show_plan(system: System) -> None:
    """Print the plan of a dry run."""
    print_lines(
        f"would diagnose {len(system.scans)} scans",
        *(f"with {name} for {role}" for role, name in system.models.names().items()),
        f"and write an evaluation to {system.out}",
    )


def show_page(page: Page, out: Path, *, as_json: bool, quiet: bool) -> None:
    """Print warnings, then tables with their footnotes, or metrics.json."""
    from luna.evaluate.pages.page import PAGE

    for warning in page.warnings:
        warn(warning)
    if as_json:
        print_data((out / "metrics.json").read_text(encoding="utf-8"))
    else:
        for section in page.sections:
            print_lines(section.title)
            print_table(section.header, section.rows, left=section.left)
            print_lines(section.footnote, "")
    note(f"page: {out / PAGE}", quiet=quiet)


def note_calibrated(made: Calibrated | None, *, quiet: bool) -> None:
    """Print what changed on the card of the nodule network."""
    if made is None:
        return
    point = made.point
    note(
        f"calibrated: temperature {made.temperature:.3f}, threshold {made.threshold:.4f} for "
        f"{point.fp_per_scan:.3f} false positives per scan at sensitivity {point.sensitivity:.3f}, "
        f"in {made.folders[0].parent}",
        quiet=quiet,
    )


def refuse_failures(failures: Mapping[str, str], scans: int, meaning: str) -> None:
    """Raise PartialFailure when a scan has no result."""
    if failures:
        raise PartialFailure(
            f"{len(failures)} of {scans} scans have no result",
            why=meaning,
            hint="correct or leave out these scans, then run the same command again; the others "
            "are done",
        )

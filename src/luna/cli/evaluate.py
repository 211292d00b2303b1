"""`luna evaluate`: score the whole pipeline over a cohort, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli import options
from luna.cli.console import listener_by_line, note, print_data, print_lines, print_table, warn
from luna.cli.output import claim_evaluation, claim_folder
from luna.run.errors import PartialFailure

if TYPE_CHECKING:
    import torch

    from luna.data.luna16.folder import Luna16
    from luna.evaluate.calibration import Calibrated
    from luna.evaluate.pages.page import Page
    from luna.evaluate.system import System

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
    from luna.evaluate.cohort import RESULTS, CohortConfig
    from luna.evaluate.folder import EVERYTHING
    from luna.evaluate.scans import chosen_scans
    from luna.evaluate.system import System, calibrated, judge_system
    from luna.nets.models import SHIPPED, load_models
    from luna.run.device import choose_device

    settings = options.settings(CohortConfig, config, overrides, print_only=print_config)
    processor, models = choose_device(device, warn), load_models(weights or [Path(SHIPPED)])
    cohort, scans = chosen_scans(data, fold, series_list)
    system = System(
        data=cohort, scans=scans, models=models, config=settings, faithful=faithful,
        device=processor, out=out, workers=workers, versus=versus or (), calibrate=calibrate,
    )  # fmt: skip
    inputs = [data, *filter(None, [series_list]), *(versus or ())]
    claim_evaluation(out, inputs, EVERYTHING, results=out / RESULTS, force=force, dry_run=dry_run)
    if calibrate is not None:  # never into a folder that holds anything, a bundle least of all
        claim_folder(calibrate, force=False, dry_run=dry_run, option="--calibrate")
    note_start(cohort, processor, models.left_out, quiet=quiet)
    if dry_run:
        show_plan(system)
        return
    judged = judge_system(system, listener_by_line(quiet=quiet))
    show_page(judged.page, out, as_json=as_json, quiet=quiet)
    refuse_failures(judged.failures, len(scans), "they count as scans without a mark")
    note_calibrated(calibrated(system, judged.evaluation), quiet=quiet)


def note_start(cohort: Luna16, device: torch.device, left_out: str = "", *, quiet: bool) -> None:
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

"""`luna evaluate DATA`: runs the pipeline over many scans and scores what it marks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from luna.cli.console import listener_by_line, note, print_lines
from luna.cli.evaluate_files import show
from luna.cli.output import claim_folder
from luna.data.luna16 import read_luna16
from luna.data.luna16_places import refuse_strange_places
from luna.evaluate.calibrate import Calibrated, write_calibrated
from luna.evaluate.cohort import (
    RESULTS,
    CohortConfig,
    diagnose_cohort,
    threshold_in_force,
)
from luna.evaluate.folder import ALL
from luna.evaluate.gallery import galleries
from luna.evaluate.page import PAGE
from luna.evaluate.scoring import (
    files_in,
    read_tables,
    score_tables,
    write_evaluation,
)
from luna.evaluate.truth import (
    choose_scans,
    fragments_of,
    write_outcome,
    write_truth,
)
from luna.nets.models import Models, load_models
from luna.run.config import dump_config, load_config
from luna.run.device import choose_device
from luna.run.errors import PartialFailure
from luna.run.files import remove_files, sweep
from luna.run.folders import contents, keep_inputs
from luna.run.record import is_record, record_run, write_record

RECORD = "run.json"


def evaluate_cohort(
    *,
    data: Path,
    weights: Sequence[Path],
    fold: int | None,
    series_list: Path | None,
    device: str,
    faithful: bool,
    calibrate: Path | None,
    versus: Sequence[Path] | None,
    out: Path,
    config: Path | None,
    overrides: Sequence[str] | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
) -> None:
    """Diagnose every chosen scan, then score all marks; raises PartialFailure at the end."""
    settings = load_config(CohortConfig, config, overrides or ())
    diagnosing = settings.diagnosing(as_the_book=faithful)
    processor = choose_device(device)
    models = load_models(weights)
    cohort = read_luna16(data)
    refuse_strange_places(cohort)
    scans = choose_scans(cohort, fold, series_list)
    keep_inputs(out, [data, *filter(None, [series_list]), *(versus or ())], ALL)
    claim_folder(out, force=force or is_own(out, out / RESULTS), dry_run=dry_run)
    if calibrate is not None:  # never into a folder that holds anything, a bundle least of all
        claim_folder(calibrate, force=False, dry_run=dry_run, option="--calibrate")
    notes = [*models.left_out, *map(str, cohort.notices), f"computing on {processor}"]
    note("\n".join(notes), quiet=quiet)
    if dry_run:
        show_plan(scans, models, out)
        return
    remove_files(out, ALL)
    sweep(out, out / RESULTS)
    write_record(
        record_run(sys.argv, dump_config(settings), str(processor), settings.seed), out / RECORD
    )
    run = diagnose_cohort(scans, models, diagnosing, processor, out, listener_by_line(quiet=quiet))
    write_truth(out, cohort, scans)
    write_outcome(out, cohort, run, malignancy=models.malignancy is not None)
    files = files_in(out, versus or ())
    scoring = settings.scoring(threshold_in_force(models, diagnosing))
    tables = read_tables(files)
    tables = replace(tables, fragments=fragments_of(run, tables.cohort))
    evaluation = score_tables(tables, scoring)
    looked_at = {uid: path for uid, path in scans.items() if uid in run.results}
    write_evaluation(evaluation, out, files, galleries(evaluation, looked_at))
    show(evaluation, out, as_json=as_json)
    note(f"page: {out / PAGE}", quiet=quiet)
    refuse_failures(run.failures, len(scans), "they count as scans without a mark")
    if calibrate is not None:
        told(write_calibrated(models, evaluation, calibrate), quiet=quiet)


def is_own(out: Path, results: Path) -> bool:
    """Whether an evaluation was begun in a folder, or nothing was.

    The record is written before the folder of results is made; a kill may come between.
    """
    record = out / RECORD
    if results.is_dir():
        return is_record(record)
    others = contents(out)
    return not others or (others == [record] and is_record(record))


def told(made: Calibrated, *, quiet: bool) -> None:
    """What is new on the card."""
    point = made.point
    note(
        f"calibrated: temperature {made.temperature:.3f}, threshold {made.threshold:.4f} for "
        f"{point.fp_per_scan:.3f} false positives per scan at sensitivity {point.sensitivity:.3f}, "
        f"in {made.folders[0].parent}",
        quiet=quiet,
    )


def show_plan(scans: Mapping[str, Path], models: Models, out: Path) -> None:
    """What a dry run found out."""
    print_lines(
        f"would diagnose {len(scans)} scans",
        *(f"with {name} for {role}" for role, name in models.names().items()),
        f"and write an evaluation to {out}",
    )


def refuse_failures(failures: Mapping[str, str], scans: int, meaning: str) -> None:
    """Raise PartialFailure when a scan has no result."""
    if failures:
        raise PartialFailure(
            f"{len(failures)} of {scans} scans have no result",
            why=meaning,
            hint="mend or leave out these scans and run the same command; the others are done",
        )

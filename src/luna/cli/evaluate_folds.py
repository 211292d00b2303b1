"""`luna evaluate --cv`: the evaluated folds of a cross-validation as one score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luna.cli.console import note, print_lines
from luna.cli.evaluate_files import show
from luna.cli.output import claim_folder
from luna.evaluate.folder import ALL
from luna.evaluate.folds import DETECTIONS, find_folds, pool
from luna.evaluate.page import PAGE
from luna.evaluate.scoring import files_in, read_tables, score_tables, write_evaluation
from luna.run.config import load_config
from luna.run.files import remove_files
from luna.run.folders import keep_inputs
from luna.run.table import write_table
from luna.score.evaluation import EvaluationConfig


def evaluate_folds(
    *,
    data: Sequence[Path],
    versus: Sequence[Path] | None,
    out: Path,
    config: Path | None,
    overrides: Sequence[str] | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
) -> None:
    """Pool the folds' tables into `out`, then score them as one."""
    settings = load_config(EvaluationConfig, config, overrides or ())
    folds = find_folds(data)
    keep_inputs(out, [*(fold.folder for fold in folds), *(versus or ())], ALL)
    claim_folder(out, force=force, dry_run=dry_run)
    if dry_run:
        scans = sum(len(fold.cohort) for fold in folds)
        print_lines(
            f"would pool {len(folds)} folds of {scans} scans", f"and write an evaluation to {out}"
        )
        return
    remove_files(out, ALL)
    for name, rows in pool(folds).items():
        write_table(out / name, rows)
    marks = [(fold.name, fold.folder / DETECTIONS) for fold in folds]
    files = files_in(out, versus or (), marks)
    evaluation = score_tables(read_tables(files), settings)
    write_evaluation(evaluation, out, files)
    show(evaluation, out, as_json=as_json)
    note(f"page: {out / PAGE}", quiet=quiet)

"""`luna score`: score the marks of any system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli import options
from luna.cli.console import print_lines
from luna.cli.evaluate import show_page
from luna.cli.output import claim_evaluation

if TYPE_CHECKING:
    from luna.evaluate.submission import Submission

TRUTH = "Truth"


def score(
    marks: Annotated[
        list[Path],
        typer.Argument(
            help="CSV file in LUNA16's format, or the folder of an evaluation, which includes its "
            "annotations. Several are pooled as the folds of one system."
        ),
    ],
    out: options.Out,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="Annotated nodules; the table may have the columns kind and malignant.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    series: Annotated[
        Path | None,
        typer.Option(
            "--series",
            "--series-list",
            help="File with the scans to score, one series UID a line.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    excluded: Annotated[
        Path | None,
        typer.Option(
            help="Irrelevant findings: a mark on one is neither a hit nor false.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    versus: Annotated[
        list[Path] | None,
        typer.Option(
            help="Marks of a second system, for a paired comparison: a CSV file or the folder of "
            "an evaluation; repeat it to pool folds."
        ),
    ] = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Score the marks of any system as the LUNA16 challenge does.

    The tables are LUNA16's: marks have the columns seriesuid, coordX, coordY,
    coordZ (LPS mm) and probability (0 to 1), and may have p_malignant;
    annotations have diameter_mm in place of probability. Prints tables and writes
    evaluation.html, metrics.json, froc.csv, nodules.csv and plots.

    Examples:

      luna score submission.csv --annotations annotations.csv --excluded
      annotations_excluded.csv --series seriesuids.csv --out scores/

      luna score evaluations/fold*/ --out pooled/

      luna score evaluation/ --versus other.csv --out comparison/
    """
    from luna.evaluate.folder import CONCLUSIONS, EVERYTHING
    from luna.evaluate.submission import find_submission, score_submission
    from luna.score.evaluation import ScoreConfig

    settings = options.settings(ScoreConfig, config, overrides, print_only=print_config)
    files = find_submission(marks, annotations, series, excluded, versus or ())
    names = EVERYTHING if files.is_pooled else CONCLUSIONS
    claim_evaluation(out, files.paths(), names, force=force, dry_run=dry_run)
    if dry_run:
        show_plan(files, out)
        return
    page = score_submission(files, settings, out)
    show_page(page, out, as_json=as_json, quiet=quiet)


def show_plan(files: Submission, out: Path) -> None:
    """Read everything, and print what would be scored."""
    from luna.evaluate.submission import read_tables

    if files.is_pooled:
        scans = sum(len(fold.cohort) for fold in files.folds)
        plan = f"would pool {len(files.folds)} folds of {scans} scans"
    else:
        tables = read_tables(files)
        plan = (
            f"would score {len(tables.marks)} marks against {len(tables.nodules)} nodules "
            f"of {len(tables.cohort)} scans, with {len(tables.excluded)} excluded findings"
        )
    print_lines(plan, f"and write an evaluation to {out}")

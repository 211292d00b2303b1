"""`luna evaluate`: how good are these detections, and how sure are we."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli import options
from luna.cli.console import note, print_data, print_lines, print_table, warn

if TYPE_CHECKING:
    from luna.report.evaluation import EvaluationTables
    from luna.score.evaluation import Evaluation


def evaluate(
    detections: Annotated[
        list[Path],
        typer.Option(help="Marks in LUNA16's format; repeat it to pool the folds of one system."),
    ],
    annotations: Annotated[
        Path, typer.Option(help="Annotated nodules; may tell kind and malignancy.")
    ],
    series: Annotated[Path, typer.Option(help="The scans that are scored, one UID a line.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables, plots and page.")],
    excluded: Annotated[
        Path | None, typer.Option(help="Irrelevant findings: neither hit nor false.")
    ] = None,
    versus: Annotated[
        list[Path] | None, typer.Option(help="Marks of a second system, for a paired test.")
    ] = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    dry_run: options.DryRun = False,
) -> None:
    """Score detections as the LUNA16 challenge does, and say how sure the scores are.

    Prints tables and writes evaluation.html, metrics.json, froc.csv,
    nodules.csv and the plots. Detections may be any system's.

    Examples:

      luna evaluate --detections submission.csv --annotations annotations.csv
      --excluded annotations_excluded.csv --series seriesuids.csv --out evaluation/

      luna evaluate … --versus other.csv --set threshold=0.3 --set samples=5000
    """
    from luna.report.evaluation import EvaluationFiles, read_tables, score_tables, write_evaluation
    from luna.run.config import load_config
    from luna.run.record import claim_folder
    from luna.score.evaluation import EvaluationConfig

    settings = load_config(EvaluationConfig, config, overrides or ())
    files = EvaluationFiles(
        detections=tuple(detections),
        annotations=annotations,
        series=series,
        excluded=excluded,
        versus=tuple(versus or ()),
    )
    claim_folder(out, force=force, dry_run=dry_run)
    tables = read_tables(files)
    if dry_run:
        show_plan(tables, out)
        return
    evaluation = score_tables(tables, settings)
    write_evaluation(evaluation, out, files)
    show(evaluation, out, as_json=as_json)
    note(f"page: {out / 'evaluation.html'}", quiet=quiet)


def show_plan(tables: EvaluationTables, out: Path) -> None:
    """What a dry run found out."""
    print_lines(
        f"would score {len(tables.marks)} marks against {len(tables.nodules)} nodules "
        f"of {len(tables.cohort)} scans, with {len(tables.excluded)} excluded findings",
        f"and write an evaluation to {out}",
    )


def show(evaluation: Evaluation, out: Path, *, as_json: bool) -> None:
    """The warnings, and the tables or metrics.json."""
    from luna.report.evaluation_tables import sections

    for warning in evaluation.warnings:
        warn(warning)
    if as_json:
        print_data((out / "metrics.json").read_text(encoding="utf-8"))
        return
    for section in sections(evaluation):
        print_lines(section.title)
        print_table(section.header, section.rows, left=section.left)
        print_lines(section.basis, "")

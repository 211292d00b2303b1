"""`luna evaluate`: how good are these detections, and how sure are we."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luna.cli import options

if TYPE_CHECKING:
    from luna.report.evaluation_tables import Section
    from luna.score.evaluation import Evaluation


def evaluate(
    detections: Annotated[
        list[Path],
        typer.Option(help="Marks in LUNA16's format; repeat it to pool the folds of one system."),
    ],
    annotations: Annotated[Path, typer.Option(help="Annotated nodules.")],
    series: Annotated[Path, typer.Option(help="The scans that are scored, one UID a line.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables, plots and page.")],
    excluded: Annotated[
        Path | None, typer.Option(help="Irrelevant findings: neither hit nor false.")
    ] = None,
    versus: Annotated[
        list[Path] | None, typer.Option(help="Marks of a second system, for a paired test.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability at which a mark is reported.")
    ] = None,
    fp_rate: Annotated[
        float | None, typer.Option(help="False positives per scan to find a threshold for.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Bootstrap samples over scans; 0 for none.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the bootstrap.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier evaluation.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print metrics.json, no tables.")] = False,
    debug: options.Debug = False,
) -> None:
    """Score detections as the LUNA16 challenge does, and say how sure the scores are.

    Example: luna evaluate --detections submission.csv --annotations annotations.csv
    --excluded annotations_excluded.csv --series seriesuids.csv --out evaluation/
    """
    from luna.report.evaluation import EvaluationFiles, evaluate_detections
    from luna.score.evaluation import EvaluationConfig

    files = EvaluationFiles(
        detections=tuple(detections),
        annotations=annotations,
        series=series,
        excluded=excluded,
        versus=tuple(versus or ()),
    )
    chosen: dict[str, Any] = {
        "threshold": threshold,
        "fp_per_scan": fp_rate,
        "samples": samples,
        "seed": seed,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    config = replace(EvaluationConfig(), **given)
    evaluation = evaluate_detections(files, config, out, force=force)
    show(evaluation, out, as_json=json)


def show(evaluation: Evaluation, out: Path, *, as_json: bool) -> None:
    """Print the tables, or metrics.json, to stdout; warnings and where it lies to stderr."""
    from luna.report.evaluation_tables import sections

    for warning in evaluation.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        typer.echo((out / "metrics.json").read_text(), nl=False)
    else:
        print_sections(sections(evaluation))
    typer.echo(f"written to {out}", err=True)


def print_sections(tables: tuple[Section, ...]) -> None:
    """Tables with rules on a terminal; elsewhere plain lines, cells apart by tabs."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for section in tables:
        if console.is_terminal:
            console.print(_rich_table(section))
            console.print(section.basis, style="dim")
            console.print()
        else:
            lines = [section.title, *("\t".join(row) for row in (section.header, *section.rows))]
            typer.echo("\n".join([*lines, section.basis, ""]))


def _rich_table(section: Section) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(section.title, style="bold"), title_justify="left", box=box.SIMPLE)
    for name, left in zip(section.header, section.left, strict=True):
        # Folded, not cut: series UIDs differ in their last digits.
        table.add_column(Text(name), justify="left" if left else "right", overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table

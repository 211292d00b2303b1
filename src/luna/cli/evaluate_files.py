"""`luna evaluate --detections`: scores the marks of any system."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from luna.cli.console import note, print_data, print_lines, print_table, warn
from luna.cli.output import claim_folder
from luna.evaluate.folder import CONCLUSIONS
from luna.evaluate.page import PAGE
from luna.evaluate.scoring import (
    EvaluationFiles,
    EvaluationTables,
    read_tables,
    score_tables,
    write_evaluation,
)
from luna.evaluate.tables import Section, sections
from luna.run.config import load_config
from luna.run.files import remove_files
from luna.run.folders import keep_inputs
from luna.score.evaluation import Evaluation, EvaluationConfig


def evaluate_files(
    *,
    detections: Sequence[Path],
    annotations: Path,
    series: Path,
    excluded: Path | None,
    versus: Sequence[Path] | None,
    out: Path,
    config: Path | None,
    overrides: Sequence[str] | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
) -> None:
    """Read, score, write, print."""
    settings = load_config(EvaluationConfig, config, overrides or ())
    files = EvaluationFiles(
        detections=tuple(detections),
        annotations=annotations,
        series=series,
        excluded=excluded,
        versus=tuple(versus or ()),
    )
    keep_inputs(out, (path for _, path in files), CONCLUSIONS)
    claim_folder(out, force=force, dry_run=dry_run)
    tables = read_tables(files)
    if dry_run:
        show_plan(tables, out)
        return
    evaluation = score_tables(tables, settings)
    remove_files(out, CONCLUSIONS)
    write_evaluation(evaluation, out, files)
    show(evaluation, out, as_json=as_json)
    note(f"page: {out / PAGE}", quiet=quiet)


def show_plan(tables: EvaluationTables, out: Path) -> None:
    """What a dry run found out."""
    print_lines(
        f"would score {len(tables.marks)} marks against {len(tables.nodules)} nodules "
        f"of {len(tables.cohort)} scans, with {len(tables.excluded)} excluded findings",
        f"and write an evaluation to {out}",
    )


def show(evaluation: Evaluation, out: Path, *, as_json: bool) -> None:
    """The warnings, and the tables or metrics.json."""
    for warning in evaluation.warnings:
        warn(warning)
    if as_json:
        print_data((out / "metrics.json").read_text(encoding="utf-8"))
        return
    show_sections(sections(evaluation))


def show_sections(shown: Iterable[Section]) -> None:
    """Tables, each with what it rests on."""
    for section in shown:
        print_lines(section.title)
        print_table(section.header, section.rows, left=section.left)
        print_lines(section.basis, "")

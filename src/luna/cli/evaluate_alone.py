"""`luna evaluate DATA --only …`: one network of the three, asked about what is known."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from luna.cli.console import listener_by_line, note, print_data, print_lines, warn
from luna.cli.evaluate import Only
from luna.cli.evaluate_cohort import RECORD, is_own, refuse_failures
from luna.cli.evaluate_files import show_sections
from luna.cli.output import claim_folder
from luna.data.luna16 import ANNOTATIONS, CANDIDATES, MALIGNANCY, OLD_CANDIDATES, read_luna16
from luna.data.luna16_places import refuse_strange_places
from luna.evaluate.cohort import CohortConfig
from luna.evaluate.folder import CONCLUSIONS
from luna.evaluate.networks.cohort import (
    Alone,
    count_voxels,
    folder_of,
    judge_candidates,
    judge_nodules,
)
from luna.evaluate.networks.decisions import tell_decisions
from luna.evaluate.networks.overlap import tell_overlap
from luna.evaluate.networks.page import Subject, Told, warnings_of, write_alone
from luna.evaluate.page import PAGE
from luna.evaluate.truth import choose_scans
from luna.nets.bundle import Role
from luna.nets.models import load_role
from luna.run.config import dump_config, load_config
from luna.run.device import choose_device
from luna.run.files import remove_files, sweep
from luna.run.folders import keep_inputs
from luna.run.record import record_run, write_record
from luna.score.decisions import decisions
from luna.score.evaluation import EvaluationConfig
from luna.score.overlap import overlap

ROLES: dict[Only, Role] = {"seg": "segmentation", "cls": "nodule", "malignancy": "malignancy"}


def evaluate_alone(
    *,
    data: Path,
    weights: Sequence[Path],
    only: Only,
    fold: int | None,
    series_list: Path | None,
    device: str,
    faithful: bool,
    out: Path,
    config: Path | None,
    overrides: Sequence[str] | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
) -> None:
    """Ask one network about every chosen scan, then score it; failures are raised at the end."""
    settings = load_config(CohortConfig, config, overrides or ())
    run = Alone(
        data=(cohort := read_luna16(data)),
        scans=choose_scans(cohort, fold, series_list),
        bundle=load_role(weights, ROLES[only]),
        config=settings.diagnosing(as_the_book=faithful),
        device=choose_device(device),
        out=out,
        listener=listener_by_line(quiet=quiet),
    )
    refuse_strange_places(cohort)
    keep_inputs(out, [data, *filter(None, [series_list])], CONCLUSIONS)
    claim_folder(out, force=force or is_own(out, folder_of(run)), dry_run=dry_run)
    note("\n".join([*map(str, cohort.notices), f"computing on {run.device}"]), quiet=quiet)
    if dry_run:
        card = run.bundle.card
        print_lines(
            f"would ask {card.name} ({card.role}) about {len(run.scans)} scans",
            f"and write an evaluation to {out}",
        )
        return
    remove_files(out, CONCLUSIONS)
    sweep(out, folder_of(run))
    write_record(
        record_run(sys.argv, dump_config(settings), str(run.device), settings.seed), out / RECORD
    )
    told, subject = (_segmenter if only == "seg" else _classifier)(run, settings)
    write_alone(told, subject, out)
    _show(told, subject, out, as_json=as_json)
    note(f"page: {out / PAGE}", quiet=quiet)
    refuse_failures(subject.failures, len(run.scans), "they are left out of every number")


def _classifier(run: Alone, settings: CohortConfig) -> tuple[Told, Subject]:
    """The nodule classifier on candidates, or the malignancy classifier on nodules."""
    card = run.bundle.card
    is_nodule = card.role == "nodule"
    scoring = settings.scoring(run.config.threshold or card.threshold)
    answers, failures = (judge_candidates if is_nodule else judge_nodules)(run)
    tables = (CANDIDATES, OLD_CANDIDATES) if is_nodule else (MALIGNANCY,)
    subject = _subject(run, scoring, failures, (ANNOTATIONS, *tables))
    found = decisions(
        answers, threshold=scoring.threshold, samples=scoring.samples, seed=scoring.seed
    )
    return tell_decisions(found, subject), subject


def _segmenter(run: Alone, settings: CohortConfig) -> tuple[Told, Subject]:
    scoring = settings.scoring(run.config.segment.threshold)
    counts, failures = count_voxels(run)
    subject = _subject(run, scoring, failures, (ANNOTATIONS,))
    found = overlap(counts, samples=scoring.samples, seed=scoring.seed)
    return tell_overlap(found, subject), subject


def _subject(
    run: Alone, scoring: EvaluationConfig, failures: Mapping[str, str], tables: Sequence[str]
) -> Subject:
    """What was evaluated; of the tables, those that are there."""
    paths = [run.data.root / name for name in tables]
    return Subject(
        card=run.bundle.card,
        config=scoring,
        failures=failures,
        tables={path.stem: path for path in paths if path.exists()},
    )


def _show(told: Told, subject: Subject, out: Path, *, as_json: bool) -> None:
    for warning in warnings_of(told, subject):
        warn(warning)
    if as_json:
        print_data((out / "metrics.json").read_text(encoding="utf-8"))
    else:
        show_sections(told.sections)

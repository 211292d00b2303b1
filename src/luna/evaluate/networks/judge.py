"""One network alone over the scans of a cohort, scored and shown."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from luna.data.luna16.folder import ANNOTATIONS, CANDIDATES, MALIGNANCY, OLD_CANDIDATES, Luna16
from luna.evaluate.cohort import RESULTS, CohortConfig
from luna.evaluate.folder import CONCLUSIONS, RECORD, clear
from luna.evaluate.networks.cohort import Alone, count_voxels, judge_candidates, judge_nodules
from luna.evaluate.networks.decisions import tell_decisions
from luna.evaluate.networks.overlap import tell_overlap
from luna.evaluate.networks.page import Subject, Told, warnings_of, write_alone
from luna.evaluate.tables import Section
from luna.nets.bundle import Bundle
from luna.run.config import dump_config
from luna.run.progress import Listener
from luna.run.record import record_run, write_record
from luna.score.decisions import decisions
from luna.score.evaluation import EvaluationConfig
from luna.score.overlap import overlap


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """One network and the scans it is judged on."""

    data: Luna16
    scans: Mapping[str, Path]
    bundle: Bundle
    config: CohortConfig
    faithful: bool
    device: torch.device
    out: Path

    @property
    def results(self) -> Path:
        """Where the results of single scans are kept."""
        return self.out / f"{RESULTS}-{self.bundle.card.role}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """Tables and warnings about a network, and why scans have no result, by series UID."""

    sections: tuple[Section, ...]
    warnings: tuple[str, ...]
    failures: Mapping[str, str]


def judge_network(task: Network, listener: Listener) -> Judged:
    """Ask the network about every scan, score its answers, and write the evaluation."""
    clear(task.out, CONCLUSIONS, task.results)
    record = record_run(sys.argv, dump_config(task.config), str(task.device), task.config.seed)
    write_record(record, task.out / RECORD)
    run = Alone(
        data=task.data,
        scans=task.scans,
        bundle=task.bundle,
        config=task.config.diagnosing(as_the_book=task.faithful),
        device=task.device,
        out=task.out,
        listener=listener,
    )
    judge = _segmenter if task.bundle.card.role == "segmentation" else _classifier
    told, subject = judge(run, task.config)
    write_alone(told, subject, task.out)
    return Judged(
        sections=told.sections,
        warnings=warnings_of(told, subject),
        failures=subject.failures,
    )


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

"""The whole pipeline over the scans of a cohort, scored and shown."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from luna.data.luna16.folder import Luna16
from luna.evaluate.calibration import Calibrated, write_calibrated
from luna.evaluate.cohort import (
    RESULTS,
    CohortConfig,
    CohortRun,
    diagnose_cohort,
    threshold_in_force,
)
from luna.evaluate.folder import EVERYTHING, RECORD, clear
from luna.evaluate.pages.gallery import galleries
from luna.evaluate.pages.page import Page
from luna.evaluate.scans import fragments_of, write_outcome, write_truth
from luna.evaluate.submission import read_tables, score_tables, submission_in, write_evaluation
from luna.nets.models import Models
from luna.run.batch.cluster import Cluster
from luna.run.config import dump_config
from luna.run.progress import Listener
from luna.run.record import record_run, write_record
from luna.score.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """A pipeline and the scans it is judged on; new bundles go to `calibrate`, if it is given."""

    data: Luna16
    scans: Mapping[str, Path]
    models: Models
    config: CohortConfig
    faithful: bool
    device: str | torch.device
    out: Path
    workers: int = 1
    cluster: Cluster | None = None
    versus: Sequence[Path] = ()
    calibrate: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """The scores of a system, the page that shows them, and the reasons of failures by UID."""

    evaluation: Evaluation
    page: Page
    failures: Mapping[str, str]


def judge_system(system: System, listener: Listener) -> Judged:
    """Diagnose every scan, score all marks, and write the evaluation."""
    out, config, models = system.out, system.config, system.models
    clear(out, EVERYTHING, out / RESULTS)
    record_system(system)
    diagnosing = config.diagnosing(as_the_book=system.faithful)
    run = _diagnosed(system, listener)
    write_truth(out, system.data, system.scans)
    write_outcome(out, system.data, run, malignancy=models.malignancy is not None)
    files = submission_in(out, system.versus)
    tables = read_tables(files)
    evaluation = score_tables(
        replace(tables, fragments=fragments_of(run, tables.cohort)),
        config.scoring(threshold_in_force(models, diagnosing)),
    )
    diagnosed = {uid: path for uid, path in system.scans.items() if uid in run.results}
    page = write_evaluation(evaluation, out, files, galleries(evaluation, diagnosed))
    return Judged(evaluation=evaluation, page=page, failures=run.failures)


def record_system(system: System) -> None:
    """Write what the run is, before the folder of its results is made."""
    config = system.config
    record = record_run(sys.argv, dump_config(config), str(system.device), config.seed)
    write_record(record, system.out / RECORD)


def diagnose_share(system: System, listener: Listener) -> Mapping[str, str]:
    """Diagnose some of a cohort's scans and score nothing; the reasons of failures by UID.

    What is computed is kept for a run over all of them.
    """
    record_system(system)
    return _diagnosed(system, listener).failures


def _diagnosed(system: System, listener: Listener) -> CohortRun:
    return diagnose_cohort(
        system.scans, system.models, system.config.diagnosing(as_the_book=system.faithful),
        system.device, system.out, listener, workers=system.workers, cluster=system.cluster,
    )  # fmt: skip


def calibrated(system: System, evaluation: Evaluation) -> Calibrated | None:
    """Write the calibrated bundles when they are asked for."""
    if system.calibrate is None:
        return None
    return write_calibrated(system.models, evaluation, system.calibrate)

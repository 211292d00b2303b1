"""`diagnose` over many scans: what is done stays done, and one bad scan stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect.classify import ClassifyConfig
from luna.detect.pipeline import DiagnoseConfig, diagnose, faithful
from luna.detect.segment import SegmentConfig
from luna.evaluate.store import (
    Json,
    Key,
    ScanResult,
    as_json,
    from_json,
    read_stored,
    result_of,
    run_key,
    write_stored,
)
from luna.nets.models import Models
from luna.run.errors import EnvironmentFault, InputError, LunaError, UsageError
from luna.run.files import write_fault
from luna.score.evaluation import EvaluationConfig

RESULTS = "scans"
"""Folder of one file per scan below the folder of the evaluation."""

DONE, KEPT = "done", "kept"
"""Outcomes of a scan that has a result: computed now, or by an earlier run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortConfig:
    """How a cohort is diagnosed and scored: the keys of `luna diagnose`, then those of scores."""

    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """The segmentation stage."""
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)
    """The classification stage."""
    lungs_only: bool = True
    """Drop candidates whose centre lies in no lung."""
    threshold: float | None = None
    """Findings have at least this probability; none takes the nodule model's own."""
    fp_per_scan: float = 1.0
    """The false-positive rate for which an operating threshold is sought."""
    samples: int = 1000
    """Bootstrap samples over scans; 0 leaves the intervals out."""
    seed: int = 0
    """Of the bootstrap: equal seeds give equal intervals."""

    def __post_init__(self) -> None:
        self.diagnosing()
        self.scoring(0.5 if self.threshold is None else self.threshold)

    def diagnosing(self, *, as_the_book: bool = False) -> DiagnoseConfig:
        """The part that `diagnose` takes; raises UsageError for what it refuses."""
        config = DiagnoseConfig(
            segment=self.segment,
            classify=self.classify,
            lungs_only=self.lungs_only,
            threshold=self.threshold,
        )
        return faithful(config) if as_the_book else config

    def scoring(self, threshold: float) -> EvaluationConfig:
        """The part that scores take, with the threshold in force."""
        return EvaluationConfig(
            threshold=threshold, fp_per_scan=self.fp_per_scan, samples=self.samples, seed=self.seed
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A scan that has just been dealt with; `seconds_left` is None until one was computed.

    `outcome`: DONE, KEPT, or why there is no result.
    """

    number: int
    scans: int
    series_uid: str
    outcome: str
    seconds: float
    seconds_left: float | None


class ScanTask(Protocol):
    """What is done with each scan."""

    def key(self, uid: str) -> Key:
        """What decides the result besides the scan's content."""

    def look(self, uid: str, scan: Scan) -> Json:
        """The result; raises InputError when the scan cannot be looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScansRun:
    """Results and failures by series UID, in the order of the scans; each scan is in one."""

    results: dict[str, Json]
    failures: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortRun:
    """The same with what `diagnose` found."""

    results: dict[str, ScanResult]
    failures: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Who is told of each scan, and of result files that are damaged and done again."""

    on_step: Callable[[Step], None] = lambda step: None
    on_damage: Callable[[str], None] = lambda sentence: None


SILENT = Listener()


def diagnose_cohort(
    files: Mapping[str, Path],
    models: Models,
    config: DiagnoseConfig,
    device: torch.device,
    out: Path,
    listener: Listener = SILENT,
) -> CohortRun:
    """Diagnose scans by series UID, one result file each below `out`/scans."""
    key = run_key(models.bundles(), config, device)
    run = run_scans(files, _Diagnose(models, config, device, key), out / RESULTS, listener)
    results = {uid: from_json(result) for uid, result in run.results.items()}
    return CohortRun(results=results, failures=run.failures)


@dataclass(frozen=True, slots=True)
class _Diagnose:
    models: Models
    config: DiagnoseConfig
    device: torch.device
    common: Key

    def key(self, uid: str) -> Key:
        return self.common

    def look(self, uid: str, scan: Scan) -> Json:
        return as_json(result_of(diagnose(scan, self.models, self.config, self.device)))


def run_scans(
    files: Mapping[str, Path], task: ScanTask, folder: Path, listener: Listener = SILENT
) -> ScansRun:
    """Do a task with scans by series UID, one result file each in `folder`.

    A result is kept when the scan and the task's key are those it was computed with. Scans
    that cannot be looked at are failures; the others go on.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_fault(folder, error) from error
    results: dict[str, Json] = {}
    failures: dict[str, str] = {}
    clock = _Clock(len(files))
    for uid, path in files.items():
        result, outcome = _at(uid, path, task, folder, listener)
        if result is None:
            failures[uid] = outcome
        else:
            results[uid] = result
        listener.on_step(clock.step(uid, outcome))
    return ScansRun(results=results, failures=failures)


def _at(
    uid: str, path: Path, task: ScanTask, folder: Path, listener: Listener
) -> tuple[Json | None, str]:
    """The result of a scan and DONE or KEPT, or None and why there is none."""
    place = folder / f"{uid}.json"
    try:
        scan = read_scan(path)
        key = {**task.key(uid), "scan": scan.fingerprint(), "series_uid": uid}
        earlier = _earlier(place, key, listener)
        if earlier is not None:
            return earlier, KEPT
        result = task.look(uid, scan)
    # A path that names nothing is wrong usage only where a user gave it.
    except (UsageError, InputError, EnvironmentFault, MemoryError) as error:
        return None, _reason(error)
    # Outside the try: a full disk is no fault of the scan.
    write_stored(place, result, key)
    return result, DONE


def _earlier(place: Path, key: Key, listener: Listener) -> Json | None:
    if not place.exists():
        return None
    try:
        return read_stored(place, key)
    except ValueError as error:
        listener.on_damage(f"{place} is damaged ({error}): this scan is looked at again")
        return None


def _reason(error: LunaError | MemoryError) -> str:
    """What is wrong with a scan, its file by name only: reports travel further than folders."""
    if isinstance(error, MemoryError):
        return "out of memory"
    file = "" if error.file is None else f"{Path(error.file).name}: "
    return f"{file}{error.what}" + (f" ({error.why})" if error.why else "")


class _Clock:
    """Counts scans and times them; the rest will take as long as those computed in this run."""

    def __init__(self, scans: int) -> None:
        self._scans, self._number = scans, 0
        self._computed, self._seconds = 0, 0.0
        self._begun = time.perf_counter()

    def step(self, uid: str, outcome: str) -> Step:
        now = time.perf_counter()
        seconds, self._begun = now - self._begun, now
        self._number += 1
        if outcome != KEPT:
            self._seconds, self._computed = self._seconds + seconds, self._computed + 1
        mean = self._seconds / self._computed if self._computed else None
        return Step(
            number=self._number,
            scans=self._scans,
            series_uid=uid,
            outcome=outcome,
            seconds=seconds,
            seconds_left=None if mean is None else mean * (self._scans - self._number),
        )


def threshold_in_force(models: Models, config: DiagnoseConfig) -> float:
    """The probability from which `diagnose` reports findings."""
    return config.threshold or models.nodule.card.threshold

"""Diagnose many scans; keep finished results, and go on past a bad scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from luna.ct.scan import Scan
from luna.data.luna16.member import read_member
from luna.detect.config import ClassifyConfig, DiagnoseConfig, SegmentConfig, faithful
from luna.detect.key import Key, run_key
from luna.detect.pipeline import diagnose
from luna.evaluate.result import ScanResult, as_json, from_json, result_of
from luna.nets.models import Models
from luna.run.batch import Batch, Done, engine_for, item_at_fault, resumed, run_batch
from luna.run.batch.cluster import Cluster
from luna.run.checked import Json, read_checked, write_checked
from luna.run.device import device_here
from luna.run.files import write_fault
from luna.run.machine.limits import cores
from luna.run.progress import SILENT, Listener
from luna.score.evaluation import ScoreConfig

RESULTS = "scans"
"""Folder of one file per scan below the folder of the evaluation."""

SCHEMA = 1
"""Increased when the file changes; results with another schema are computed again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortConfig(ScoreConfig):
    """How a cohort is diagnosed and scored: the keys of `luna diagnose`, then those of scoring."""

    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """How the segmenter is used."""
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)
    """How the classifier is used."""
    balls: bool = True
    """Also take the balls that fit into the marked voxels as candidates, not only their pieces."""
    lungs_only: bool = True
    """Drop candidates with a centre outside the lungs."""
    threshold: float | None = None
    """Report findings from this probability on; none takes the one on the nodule model's card."""

    def __post_init__(self) -> None:
        self.diagnosing()
        ScoreConfig.__post_init__(self)

    def diagnosing(self, *, as_the_book: bool = False) -> DiagnoseConfig:
        """Return the config of `diagnose`. Raises UsageError for a value that it refuses."""
        config = DiagnoseConfig(
            segment=self.segment,
            classify=self.classify,
            balls=self.balls,
            lungs_only=self.lungs_only,
            threshold=self.threshold,
        )
        return faithful(config) if as_the_book else config


class ScanTask(Protocol):
    """Work that is done for each scan."""

    def key(self, uid: str) -> Key:
        """Return everything that decides the result besides the scan itself."""

    def compute(self, uid: str, scan: Scan) -> Json:
        """Return the result. Raises InputError when the scan cannot be judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortRun:
    """Results and reasons of failures by series UID; each scan is in one of them."""

    results: dict[str, ScanResult]
    failures: dict[str, str]


def diagnose_cohort(
    files: Mapping[str, Path],
    models: Models,
    config: DiagnoseConfig,
    device: str | torch.device,
    out: Path,
    listener: Listener = SILENT,
    *,
    workers: int = 1,
    cluster: Cluster | None = None,
) -> CohortRun:
    """Diagnose scans by series UID, one result file each below `out`/scans."""
    task = _Diagnose(models, config, device)
    run = run_scans(files, task, out / RESULTS, listener, workers=workers, cluster=cluster)
    results = {uid: from_json(result) for uid, result in run.results.items()}
    return CohortRun(results=results, failures=run.failures)


@dataclass(frozen=True, slots=True)
class _Diagnose:
    models: Models
    config: DiagnoseConfig
    device: str | torch.device

    def key(self, uid: str) -> Key:
        return run_key(self.models.bundles(), self.config, device_here(self.device))

    def compute(self, uid: str, scan: Scan) -> Json:
        device = device_here(self.device)
        return as_json(result_of(diagnose(scan, self.models, self.config, device)))


def run_scans(
    files: Mapping[str, Path],
    task: ScanTask,
    folder: Path,
    listener: Listener = SILENT,
    *,
    workers: int = 1,
    cluster: Cluster | None = None,
) -> Batch[Json]:
    """Do a task with scans by series UID, one result file each in `folder`.

    A result is kept when the scan and the task's key are those it was computed with. Scans
    that cannot be read are failures; the others go on.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_fault(folder, error) from error
    threads = None if cluster is None else cluster.threads
    if workers > 1:  # no more than the user allows, by --threads or a variable
        threads = min(torch.get_num_threads(), max(1, cores() // workers))
    work = _ScanWork(task, folder, threads)
    return run_batch("scan", files, work, cluster or engine_for(workers), listener)


@dataclass(frozen=True, slots=True)
class _ScanWork:
    """A task with one scan, whose result is a file named by the series UID.

    `threads`: how many torch may use, where several processes share the cores.
    """

    task: ScanTask
    folder: Path
    threads: int | None

    def __call__(self, uid: str, path: Path) -> Done[Json]:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        with item_at_fault():
            scan = read_member(path, uid)
        key = {**self.task.key(uid), "scan": scan.fingerprint(), "series_uid": uid}
        place = self.folder / f"{uid}.json"

        def make() -> Json:
            with item_at_fault():
                result = self.task.compute(uid, scan)
            write_result(place, result, key)
            return result

        return resumed(lambda: read_result(place, key), make)


def write_result(path: Path, result: Json, key: Key) -> None:
    """Write a result with what decided it."""
    write_checked(path, {"schema": SCHEMA, "key": key, **result})


def read_result(path: Path, key: Key) -> Json | None:
    """Return a result, or None when there is none, or one of another scan, network or config.

    Raises DamagedError when the file is damaged.
    """
    if not path.exists():
        return None
    values = read_checked(path)
    same = values.pop("schema", None) == SCHEMA and values.pop("key", None) == key
    return values if same else None


def threshold_in_force(models: Models, config: DiagnoseConfig) -> float:
    """Return the probability from which `diagnose` reports findings."""
    own = config.threshold
    return models.nodule.card.threshold if own is None else own

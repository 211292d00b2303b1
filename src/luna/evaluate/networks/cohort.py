"""One network alone over a cohort: what scores need of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from luna.data.luna16.folder import Luna16
from luna.data.luna16.rows import UNKNOWN
from luna.detect.pipeline import DiagnoseConfig
from luna.evaluate.cohort import RESULTS, run_scans
from luna.evaluate.networks.answers import ClassifyPlaces, SegmentNodules
from luna.nets.bundle import Bundle
from luna.run.errors import InputError
from luna.run.progress import Listener
from luna.score.decisions import Answers, refuse_one_kind
from luna.score.overlap import VoxelCounts


@dataclass(frozen=True, kw_only=True, slots=True)
class Alone:
    """How a network is run alone: over which scans, with what, and where results are kept."""

    data: Luna16
    scans: Mapping[str, Path]
    bundle: Bundle
    config: DiagnoseConfig
    device: torch.device
    out: Path
    listener: Listener


def judge_candidates(run: Alone) -> tuple[Answers, dict[str, str]]:
    """The nodule classifier on the table of candidates, and the scans that have no result."""
    table = run.data.candidates
    rows = {uid: np.arange(len(table.series))[run.data.candidates_of(uid)] for uid in run.scans}
    positive = table.is_nodule
    diameter_mm = np.full(len(positive), np.nan)
    diameter_mm[positive] = run.data.nodules.diameter_mm[table.nodule[positive]]
    return _judge(run, table.center_xyz, rows, positive, diameter_mm)


def judge_nodules(run: Alone) -> tuple[Answers, dict[str, str]]:
    """The malignancy classifier on annotated nodules with a verdict, and failures as above."""
    table = run.data.nodules
    known = table.malignant != UNKNOWN
    every = np.arange(len(known))
    of_scan = {uid: every[run.data.nodules_of(uid)] for uid in run.scans}
    rows = {uid: places[known[places]] for uid, places in of_scan.items()}
    return _judge(run, table.center_xyz, rows, table.malignant == 1, table.diameter_mm)


def _judge(
    run: Alone,
    center_xyz: NDArray[np.float64],
    rows: Mapping[str, NDArray[np.intp]],
    positive: NDArray[np.bool_],
    diameter_mm: NDArray[np.float64],
) -> tuple[Answers, dict[str, str]]:
    refuse_one_kind(positive[np.concatenate([*rows.values()])])  # before anything is computed
    centers = {uid: center_xyz[places] for uid, places in rows.items()}
    task = ClassifyPlaces(run.bundle, run.config.classify, run.device, centers)
    done = run_scans(run.scans, task, folder_of(run), run.listener)
    _refuse_none(done.results)
    places = np.concatenate([rows[uid] for uid in done.results])
    answers = Answers(
        p=np.concatenate([np.array(found["p"], np.float64) for found in done.results.values()]),
        positive=positive[places],
        series=_series([len(rows[uid]) for uid in done.results]),
        diameter_mm=diameter_mm[places],
        scans=len(done.results),
    )
    return answers, done.failures


def count_voxels(run: Alone) -> tuple[VoxelCounts, dict[str, str]]:
    """The segmenter on annotated nodules, and the scans that have no result."""
    table = run.data.nodules
    whole = np.column_stack([table.center_xyz, table.diameter_mm])
    nodules = {uid: whole[run.data.nodules_of(uid)] for uid in run.scans}
    if not sum(map(len, nodules.values())):
        raise InputError(
            f"none of the {len(nodules)} scans has an annotated nodule",
            hint="take more scans, or check the tables beside them",
        )
    task = SegmentNodules(run.bundle, run.config.segment, run.device, nodules)
    done = run_scans(run.scans, task, folder_of(run), run.listener)
    found = list(done.results.values())
    _refuse_none(found)
    voxels = np.array([row for each in found for row in each["nodules"]], np.int64).reshape(-1, 2)
    counts = VoxelCounts(
        true_positive=np.array([each["true_positive"] for each in found]),
        false_positive=np.array([each["false_positive"] for each in found]),
        false_negative=np.array([each["false_negative"] for each in found]),
        slice_dice=np.array([sum(each["slice_dice"]) for each in found], np.float64),
        slices=np.array([len(each["slice_dice"]) for each in found]),
        inside=np.sum([each["inside"] for each in found], axis=0),
        outside=np.sum([each["outside"] for each in found], axis=0),
        series=_series([len(each["nodules"]) for each in found]),
        voxels=voxels[:, 0],
        hit=voxels[:, 1],
        diameter_mm=np.concatenate([nodules[uid][:, 3] for uid in done.results]),
    )
    return counts, done.failures


def folder_of(run: Alone) -> Path:
    """Where the results of the scans are kept."""
    return run.out / f"{RESULTS}-{run.bundle.card.role}"


def _series(sizes: Sequence[int]) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(sizes)), sizes).astype(np.intp)


def _refuse_none(results: Any) -> None:
    if not results:
        raise InputError("no scan could be looked at", hint="the reasons stand above")

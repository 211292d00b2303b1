"""One network asked about every scan of a cohort, on places or voxels that are known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray
from luna.ct.lungs import find_lungs
from luna.ct.scan import Scan
from luna.data.luna16.folder import Luna16
from luna.data.nodule_mask import nodule_voxels
from luna.detect.classify import classify
from luna.detect.config import ClassifyConfig, SegmentConfig
from luna.detect.segment import segment
from luna.evaluate.cohort import RESULTS, CohortConfig, run_scans
from luna.evaluate.result import Key, run_key
from luna.nets.bundle import Bundle
from luna.run.batch import Batch
from luna.run.checked import Json
from luna.run.errors import InputError
from luna.run.nodules import UNKNOWN
from luna.run.progress import Listener
from luna.score.decisions import Answers, refuse_one_kind
from luna.score.overlap import VoxelCounts


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

    @property
    def stage(self) -> SegmentConfig | ClassifyConfig:
        """How the network is used."""
        config = self.config.diagnosing(as_the_book=self.faithful)
        return config.segment if self.bundle.card.role == "segmentation" else config.classify


@dataclass(frozen=True, slots=True)
class _Questions:
    """The places or nodules of each scan by series UID, and how a scan is compared with them."""

    network: Network
    rows: Mapping[str, FloatArray]
    answer: Callable[[Network, Scan, FloatArray], Json]

    def key(self, uid: str) -> Key:
        """Return the network, how it is used, and the rows."""
        network, rows = self.network, np.ascontiguousarray(self.rows[uid], "<f8")
        common = run_key([network.bundle], network.stage, network.device)
        return {**common, "rows": hashlib.sha256(rows.tobytes()).hexdigest()}

    def compute(self, uid: str, scan: Scan) -> Json:
        """Return the answers about one scan."""
        return self.answer(self.network, scan, self.rows[uid])


def ask_classifier(network: Network, listener: Listener) -> tuple[Answers, dict[str, str]]:
    """Return the classifier's answers, and the scans without an answer with the reason.

    A nodule classifier is asked about the table of candidates, a malignancy classifier about
    the annotated nodules with a verdict.
    """
    data, nodules = network.data, network.data.nodules
    if network.bundle.card.role == "nodule":
        candidates = data.candidates
        center_xyz, positive = candidates.center_xyz, candidates.is_nodule
        diameter_mm = np.full(len(positive), np.nan)
        diameter_mm[positive] = nodules.diameter_mm[candidates.nodule[positive]]
        rows = {uid: np.arange(len(positive))[data.candidates_of(uid)] for uid in network.scans}
    else:
        known = np.arange(len(nodules.line))
        center_xyz, positive = nodules.center_xyz, nodules.malignant == 1
        diameter_mm = nodules.diameter_mm
        rows = {uid: known[data.nodules_of(uid)] for uid in network.scans}
        rows = {uid: row[nodules.malignant[row] != UNKNOWN] for uid, row in rows.items()}
    refuse_one_kind(positive[np.concatenate([*rows.values()])])  # before anything is computed
    centers = {uid: center_xyz[row] for uid, row in rows.items()}
    done = _run(_Questions(network, centers, _probabilities), listener)
    places = np.concatenate([rows[uid] for uid in done.results])
    answers = Answers(
        p=np.concatenate([np.array(found["p"], np.float64) for found in done.results.values()]),
        positive=positive[places],
        series=_series([len(rows[uid]) for uid in done.results]),
        diameter_mm=diameter_mm[places],
        scans=len(done.results),
    )
    return answers, done.failures


def count_voxels(network: Network, listener: Listener) -> tuple[VoxelCounts, dict[str, str]]:
    """Count the segmenter's voxels in annotated nodules; return the failures by scan, too."""
    table = network.data.nodules
    whole = np.column_stack([table.center_xyz, table.diameter_mm])
    nodules = {uid: whole[network.data.nodules_of(uid)] for uid in network.scans}
    if not sum(map(len, nodules.values())):
        raise InputError(
            f"none of the {len(nodules)} scans has an annotated nodule",
            hint="take more scans, or check the tables beside them",
        )
    done = _run(_Questions(network, nodules, _compared), listener)
    found = [*done.results.values()]
    voxels = np.array([row for each in found for row in each["nodules"]], np.float64)
    names = ("true_positive", "false_positive", "false_negative", "slice_dice", "slices")
    counts = VoxelCounts(
        **{name: np.array([each[name] for each in found], np.float64) for name in names},
        series=_series([len(each["nodules"]) for each in found]),
        voxels=voxels.reshape(-1, 2)[:, 0],
        hit=voxels.reshape(-1, 2)[:, 1],
        diameter_mm=np.concatenate([nodules[uid][:, 3] for uid in done.results]),
    )
    return counts, done.failures


def _run(questions: _Questions, listener: Listener) -> Batch[Json]:
    network = questions.network
    done = run_scans(network.scans, questions, network.results, listener)
    if not done.results:
        raise InputError("no scan could be read", hint="the reasons stand above")
    return done


def _probabilities(network: Network, scan: Scan, center_xyz: FloatArray) -> Json:
    """Return the classifier's probability at each of (M, 3) places, LPS mm."""
    center_irc = scan.geometry.irc_from_xyz(center_xyz).reshape(-1, 3)
    stage: Any = network.stage
    p = classify(scan, center_irc, network.bundle, stage, network.device, _silent)
    return {"p": p.tolist()}


def _compared(network: Network, scan: Scan, nodules: FloatArray) -> Json:
    """Count voxels right and wrong, the Dice of slices with a nodule, and hits per nodule.

    `nodules`: (N, 4) centre in LPS mm and diameter in mm; their voxels are those of
    `data.nodule_mask`. The segmenter looks where the pipeline looks.
    """
    stage: Any = network.stage
    found = segment(scan, find_lungs(scan), network.bundle, stage, network.device, _silent)
    marked, truth = np.zeros(scan.shape_irc, np.bool_), np.zeros(scan.shape_irc, np.bool_)
    corner = zip(found.start_irc, found.marked.shape, strict=True)
    marked[tuple(slice(a, a + n) for a, n in corner)] = found.marked
    hits = []
    for row in nodules:
        own = nodule_voxels(scan, row[:3], float(row[3]))
        truth[own.slices] |= own.voxels
        hits.append([int(own.voxels.sum()), int((marked[own.slices] & own.voxels).sum())])
    both, wanted, got = (m.sum(axis=(1, 2)) for m in (marked & truth, truth, marked))
    dice = (2 * both / np.maximum(wanted + got, 1))[wanted > 0]
    return {
        "true_positive": int(both.sum()),
        "false_positive": int((got - both).sum()),
        "false_negative": int((wanted - both).sum()),
        "slice_dice": sum(dice.tolist()),
        "slices": len(dice),
        "nodules": hits,
    }


def _series(sizes: Sequence[int]) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(sizes)), sizes).astype(np.intp)


def _silent(done: int, total: int) -> None:
    """Show no progress within a scan: each scan is a line."""

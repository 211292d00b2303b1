"""Run one network on every scan of a cohort, at known candidates or nodules."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from luna.ct.geometry import FloatArray
from luna.ct.lungs.find import find_lungs
from luna.ct.mask import BoxMask
from luna.ct.scan import Scan
from luna.data.luna16.folder import Luna16
from luna.data.nodule_mask import nodule_voxels
from luna.detect.classify import classify
from luna.detect.config import ClassifyConfig, SegmentConfig
from luna.detect.key import Key, run_key
from luna.detect.segment import segment
from luna.nets.bundle import Bundle
from luna.run.checked import Json
from luna.run.nodules import UNKNOWN
from luna.score.confusion import DEFAULT_THRESHOLD
from luna.score.evaluation import EvaluationConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidateConfig:
    """How one network is run and scored."""

    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """How a segmenter is run; its threshold stands here."""
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)
    """How a classifier is run."""
    threshold: float | None = None
    """Classifiers: a place is positive from this probability on; none takes the card's."""
    samples: int = 1000
    """Number of bootstrap samples over scans; 0 leaves the intervals out."""
    seed: int = 0
    """Seed of the bootstrap; equal seeds give equal intervals."""

    def __post_init__(self) -> None:
        self.scoring(DEFAULT_THRESHOLD if self.threshold is None else self.threshold)

    def scoring(self, threshold: float) -> EvaluationConfig:
        """Return the config of scoring. Raises UsageError for a value that it refuses."""
        return EvaluationConfig(threshold=threshold, samples=self.samples, seed=self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """One network, how it is run, and what it is asked about each scan: `questions` by UID."""

    bundle: Bundle
    config: ValidateConfig
    device: torch.device
    rows: Mapping[str, FloatArray]

    @property
    def segments(self) -> bool:
        """Whether the network marks voxels; others classify places."""
        return self.bundle.card.role == "segmentation"

    @property
    def scoring(self) -> EvaluationConfig:
        """The config of scoring, with the threshold in force."""
        own = self.config.segment.threshold if self.segments else self.config.threshold
        return self.config.scoring(self.bundle.card.threshold if own is None else own)

    def key(self, uid: str) -> Key:
        """Return everything that decides the answers: the network, how it is run, the rows."""
        stage = self.config.segment if self.segments else self.config.classify
        rows = np.ascontiguousarray(self.rows[uid], "<f8").tobytes()
        asked = {"rows": hashlib.sha256(rows).hexdigest()}
        return {**run_key([self.bundle], stage, self.device), **asked}

    def compute(self, uid: str, scan: Scan) -> Json:
        """Return the probability at each place, or the counts of voxels."""
        rows = self.rows[uid]
        if self.segments:
            stage, lungs = self.config.segment, find_lungs(scan)
            marked = segment(scan, lungs, self.bundle, stage, self.device, _silent)
            return count_voxels(scan, rows, marked)
        center_irc = scan.geometry.irc_from_xyz(rows[:, :3]).reshape(-1, 3)
        p = classify(scan, center_irc, self.bundle, self.config.classify, self.device, _silent)
        return {"p": p.tolist()}


def questions(data: Luna16, role: str, uids: Iterable[str]) -> dict[str, FloatArray]:
    """Return the places that a network judges, by series UID: (K, 5) float64 each.

    The columns are x, y, z in LPS mm, the diameter in mm (NaN for what is no nodule), and 1 for
    what is positive. A nodule classifier gets the table of candidates, a malignancy classifier
    the nodules with a verdict, a segmenter all annotated nodules.
    """
    nodules, candidates = data.nodules, data.candidates
    if role == "nodule":
        diameter_mm = np.full(len(candidates.is_nodule), np.nan)
        annotated = candidates.nodule[candidates.is_nodule]
        diameter_mm[candidates.is_nodule] = nodules.diameter_mm[annotated]
        rows = np.column_stack([candidates.center_xyz, diameter_mm, candidates.is_nodule])
        return {uid: rows[data.candidates_of(uid)] for uid in uids}
    rows = np.column_stack([nodules.center_xyz, nodules.diameter_mm, nodules.malignant])
    found = {uid: rows[data.nodules_of(uid)] for uid in uids}
    if role == "segmentation":
        return found
    return {uid: each[each[:, 4] != UNKNOWN] for uid, each in found.items()}


def count_voxels(scan: Scan, rows: FloatArray, marked: BoxMask) -> Json:
    """Count true positive, false positive and false negative voxels, and hits in each nodule."""
    called, truth = np.zeros((2, *scan.shape_irc), np.bool_)
    called[marked.slices] = marked.voxels
    hits = []
    for center_xyz, diameter_mm in zip(rows[:, :3], rows[:, 3].tolist(), strict=True):
        own = nodule_voxels(scan, center_xyz, diameter_mm)
        truth[own.slices] |= own.voxels
        hits.append(int((called[own.slices] & own.voxels).sum()))
    tp = int((called & truth).sum())
    return {"voxels": [tp, int(called.sum()) - tp, int(truth.sum()) - tp], "hits": hits}


def _silent(done: int, total: int) -> None:
    """Show no progress within a scan: each scan is a line."""

"""One network alone: on places that are given, or on annotated voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray
from luna.ct.lungs import find_lungs
from luna.ct.scan import Scan
from luna.data.nodule_mask import nodule_voxels
from luna.detect.classify import ClassifyConfig, classify
from luna.detect.segment import SegmentConfig, segment
from luna.evaluate.store import Key, run_key
from luna.nets.bundle import Bundle
from luna.run.checked import Json
from luna.score.overlap import LEVELS


@dataclass(frozen=True, slots=True)
class ClassifyPlaces:
    """The classifier on crops around given centres (M, 3), LPS mm, by series UID."""

    bundle: Bundle
    config: ClassifyConfig
    device: torch.device
    center_xyz: Mapping[str, FloatArray]

    def key(self, uid: str) -> Key:
        """The network, its config, and the places."""
        common = run_key([self.bundle], self.config, self.device)
        return {**common, "places": _digest(self.center_xyz[uid])}

    def look(self, uid: str, scan: Scan) -> Json:
        """`p`: the probability at each place."""
        center_irc = scan.geometry.irc_from_xyz(self.center_xyz[uid]).reshape(-1, 3)
        p = classify(scan, center_irc, self.bundle, self.config, self.device, _silent)
        return {"p": p.tolist()}


@dataclass(frozen=True, slots=True)
class SegmentNodules:
    """The segmenter against the voxels of annotated nodules, by series UID.

    `nodules`: (N, 4) centre in LPS mm and diameter in mm. The voxels of a nodule are those of
    `data.nodule_mask`. Voxels are looked at where the pipeline looks: in the lungs' box.
    """

    bundle: Bundle
    config: SegmentConfig
    device: torch.device
    nodules: Mapping[str, FloatArray]

    def key(self, uid: str) -> Key:
        """The network, its config, and the nodules."""
        common = run_key([self.bundle], self.config, self.device)
        return {**common, "nodules": _digest(self.nodules[uid])}

    def look(self, uid: str, scan: Scan) -> Json:
        """Voxel counts; per slice with a nodule its Dice; per nodule its voxels and hits.

        `inside`, `outside`: voxels of nodules, and others in the box, by level of probability.
        """
        lungs = find_lungs(scan)
        found = segment(scan, lungs, self.bundle, self.config, self.device, _silent)
        marked = np.zeros(scan.shape_irc, np.bool_)
        box = tuple(
            slice(a, a + n) for a, n in zip(found.start_irc, found.p_voxel.shape, strict=True)
        )
        marked[box] = found.p_voxel > self.config.threshold
        truth, nodules = np.zeros(scan.shape_irc, np.bool_), []
        for row in self.nodules[uid]:
            own = nodule_voxels(scan, row[:3], float(row[3]))
            truth[own.slices] |= own.voxels
            hit = marked[own.slices] & own.voxels
            nodules.append([int(own.voxels.sum()), int(hit.sum())])
        return {
            **_counts(marked, truth),
            **_levels(found.p_voxel, truth[box], beyond=int(truth.sum() - truth[box].sum())),
            "nodules": nodules,
        }


def _counts(marked: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Json:
    plane = (1, 2)
    both, wanted, got = ((m.sum(axis=plane)) for m in (marked & truth, truth, marked))
    dice = (2 * both / np.maximum(wanted + got, 1))[wanted > 0]
    return {
        "true_positive": int(both.sum()),
        "false_positive": int((got - both).sum()),
        "false_negative": int((wanted - both).sum()),
        "slice_dice": dice.tolist(),
    }


def _levels(p: NDArray[np.float32], truth: NDArray[np.bool_], beyond: int) -> Json:
    """Voxels by level of probability; `beyond` voxels of nodules lie outside the box, at 0."""
    inside, every = np.zeros(LEVELS, np.int64), np.zeros(LEVELS, np.int64)
    for plane, wanted in zip(p, truth, strict=True):  # a slice at a time: indices take 8 bytes
        level = np.minimum((plane * LEVELS).astype(np.intp), LEVELS - 1)
        every += np.bincount(level.ravel(), minlength=LEVELS)
        inside += np.bincount(level[wanted], minlength=LEVELS)
    outside = every - inside
    inside[0] += beyond
    return {"inside": inside.tolist(), "outside": outside.tolist()}


def _digest(values: FloatArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, "<f8").tobytes()).hexdigest()


def _silent(done: int, total: int) -> None:
    """No progress within a scan: each scan is a line."""

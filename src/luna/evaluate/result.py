"""The result of one scan of a cohort, and the key that says what it was computed from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import luna
from luna.detect.findings import Findings
from luna.nets.bundle import Bundle
from luna.run.checked import Json

CARD_WORDS = ("name", "training_data", "licence", "metrics", "notice", "source", "card_version")
"""Fields of a card that change no number."""

Key = dict[str, Any]
"""Everything that decides a result: equal keys, equal results."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanResult:
    """Everything about one scan that scoring needs.

    `center_xyz` (M, 3) LPS mm, `p_nodule` (M,) and `component` (M,), equal for fragments of
    one nodule, are of every candidate by falling probability. `marks` (K,) are the best
    fragments of each nodule; the first F of them are findings, whose `p_malignant` (F,) is NaN
    without such a model, and whose `diameter_mm` (F,) was measured.
    """

    center_xyz: NDArray[np.float64]
    p_nodule: NDArray[np.float64]
    component: NDArray[np.int64]
    p_malignant: NDArray[np.float64]
    diameter_mm: NDArray[np.float64]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def marks(self) -> NDArray[np.intp]:
        """Return the (K,) candidates that become rows of `detections.csv`."""
        return np.sort(np.unique(self.component, return_index=True)[1])


def result_of(findings: Findings) -> ScanResult:
    """Return the part of the findings that is kept."""
    candidates, found = findings.candidates, findings.findings
    p_malignant = [np.nan if f.p_malignant is None else f.p_malignant for f in found]
    return ScanResult(
        center_xyz=candidates.center_xyz,
        p_nodule=candidates.p_nodule,
        component=candidates.nodule,
        p_malignant=np.array(p_malignant, np.float64),
        diameter_mm=np.array([f.measurement.diameter_mm for f in found], np.float64),
        warnings=findings.warnings,
        seconds=sum(findings.seconds.values()),
    )


def as_json(result: ScanResult) -> Json:
    """Return the result as JSON values."""
    columns = (result.center_xyz.tolist(), result.p_nodule.tolist(), result.component.tolist())
    return {
        "candidates": [[*xyz, p, part] for xyz, p, part in zip(*columns, strict=True)],
        "p_malignant": [None if np.isnan(p) else p for p in result.p_malignant.tolist()],
        "diameter_mm": result.diameter_mm.tolist(),
        "warnings": list(result.warnings),
        "seconds": round(result.seconds, 2),
    }


def from_json(values: Json) -> ScanResult:
    """Return the result that `as_json` wrote, to the last bit."""
    rows = np.array(values["candidates"], np.float64).reshape(-1, 5)
    malignant = [np.nan if p is None else p for p in values["p_malignant"]]
    return ScanResult(
        center_xyz=rows[:, :3],
        p_nodule=rows[:, 3],
        component=rows[:, 4].astype(np.int64),
        p_malignant=np.array(malignant, np.float64),
        diameter_mm=np.array(values["diameter_mm"], np.float64),
        warnings=tuple(values["warnings"]),
        seconds=values["seconds"],
    )


def run_key(bundles: Iterable[Bundle], config: Any, device: torch.device) -> Key:
    """Return everything that decides a result besides the scan: networks, config, processor.

    `config` is a dataclass.
    """
    cards = {bundle.card.role: bundle.card.values() for bundle in bundles}
    for card in cards.values():
        for word in CARD_WORDS:
            del card[word]
    key = {
        "luna": luna.__version__,
        "device": device.type,  # bfloat16 and kernels differ between processors
        "config": asdict(config),
        "models": cards,
    }
    return dict(json.loads(json.dumps(key)))  # tuples as a file gives them back

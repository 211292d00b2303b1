"""Measure what the views and the arithmetic of the shipped networks change in candidates' scores.

    python scripts/measure_arithmetic.py SCAN…

Of each scan, the U-Net marks voxels in bfloat16, as on machines that have it, and in float32. The
candidates of the first are judged by one view and by the mean over four, in float32. Printed are
the share of candidates that the first view clears, and the largest probability that four views
would give one of these, for several limits; then how many marked voxels differ between the two
arithmetics, and by how much the scores of the same candidates (within 2 voxels) differ.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from luna.ct.lungs.find import Lungs, find_lungs
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect import classify as judging
from luna.detect.config import ClassifyConfig, SegmentConfig
from luna.detect.group import group
from luna.detect.segment import segment
from luna.nets.models import Models, load_models

LIMITS = (0.001, 0.005, 0.01, 0.02)
SAME_PLACE_VOX = 2.0
CPU = torch.device("cpu")


def silent(done: int, total: int) -> None:
    """Show no progress."""


def candidates(scan: Scan, lungs: Lungs, models: Models, precision: str):
    """The centres (M, 3) of candidates in the lungs, and the marks they are made of."""
    config = SegmentConfig(precision=precision)
    found = segment(scan, lungs, models.segmentation, config, CPU, silent)
    centers = group(scan, found, models.segmentation.card.erosion).center_irc
    return centers[lungs.label_at(centers) > 0], found.marked


def scores(scan: Scan, centers: np.ndarray, models: Models, *, mirrored: bool) -> np.ndarray:
    """The probability of each candidate by one view, or by all four of every one."""
    bundle = replace(models.nodule, card=replace(models.nodule.card, mirrored=mirrored))
    with mock.patch.object(judging, "CLEAR_NEGATIVE", 0.0):
        return judging.classify(scan, centers, bundle, ClassifyConfig(), CPU, silent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path, nargs="+")
    models = load_models()
    for path in parser.parse_args().scans:
        scan = read_scan(path)
        lungs = find_lungs(scan)
        fast, fast_marks = candidates(scan, lungs, models, "bfloat16")
        exact, exact_marks = candidates(scan, lungs, models, "float32")
        first, four = (scores(scan, fast, models, mirrored=m) for m in (False, True))
        print(f"{scan.series_uid[-12:]}: {len(fast)} candidates, {len(exact)} in float32")
        for limit in LIMITS:
            clear = first < limit
            most = four[clear].max(initial=0)
            print(f"  first view below {limit}: {clear.mean():.0%} cleared, four views {most:.3f}")
        distance = np.linalg.norm(fast[:, None] - exact[None], axis=2)
        same = distance.min(axis=1) < SAME_PLACE_VOX
        other = scores(scan, exact, models, mirrored=True)[distance.argmin(axis=1)]
        most, alone = np.abs(four - other)[same].max(), four[~same].max(initial=0)
        print(
            f"  {(fast_marks != exact_marks).sum()} of {exact_marks.sum()} marked voxels differ; "
            f"{same.sum()} candidates are in both, |Δp| {most:.3f}; p of the others {alone:.3f}"
        )


if __name__ == "__main__":
    main()

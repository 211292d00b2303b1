"""Measure what the views and the arithmetic of the shipped networks change in candidates' scores.

    python scripts/measure_arithmetic.py SCAN…

Of each scan, the U-Net marks voxels in bfloat16, as `segment.precision=auto` does on machines that
have it, and in float32. The candidates of the first are judged by one view and by the mean over
four, in float32. Printed are the share of candidates that the first view clears, and the largest
probability that four views would give one of these, for several limits; then by how much the
probabilities of voxels differ between the two arithmetics, how many marks do and how far from the
threshold, what candidates are in one alone, and by how much the scores of the same candidates
(within 2 voxels) differ; and the CPU seconds of both.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from luna.ct.lungs.find import Lungs, find_lungs
from luna.ct.mask import BoxMask
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect import classify as judging
from luna.detect.config import ClassifyConfig, SegmentConfig
from luna.detect.group import group
from luna.detect.segment import probabilities
from luna.nets.models import Models, load_models

LIMITS = (0.001, 0.005, 0.01, 0.02)
SAME_PLACE_VOX = 2.0
THRESHOLD = SegmentConfig().threshold
CPU = torch.device("cpu")


def silent(done: int, total: int) -> None:
    """Show no progress."""


def p_voxels(scan: Scan, lungs: Lungs, models: Models, precision: str):
    """The probability of each voxel in the lungs' box, 0 where there is none, and CPU seconds."""
    begun = time.process_time()
    whole = np.zeros(scan.shape_irc, np.float32)
    config = SegmentConfig(precision=precision)
    for place, p in probabilities(scan, lungs, models.segmentation, config, CPU):
        whole[place] = p.numpy()
    return whole[lungs.box()], time.process_time() - begun


def candidates(scan: Scan, lungs: Lungs, models: Models, p_voxel: np.ndarray):
    """The centres (M, 3) of candidates in the lungs."""
    start = tuple(s.start for s in lungs.box())
    found = BoxMask(start_irc=start, voxels=p_voxel > THRESHOLD)
    centers = group(scan, found, models.segmentation.card.erosion).center_irc
    return centers[lungs.label_at(centers) > 0]


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
        p_fast, fast_s = p_voxels(scan, lungs, models, "bfloat16")
        p_exact, exact_s = p_voxels(scan, lungs, models, "float32")
        fast, exact = (candidates(scan, lungs, models, p) for p in (p_fast, p_exact))
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
        differ = (p_fast > THRESHOLD) != (p_exact > THRESHOLD)
        edge = np.abs(p_exact - THRESHOLD)[differ].max(initial=0)
        lost = np.linalg.norm(exact[:, None] - fast[None], axis=2).min(axis=1) >= SAME_PLACE_VOX
        print(
            f"  voxels: |Δp| {np.abs(p_fast - p_exact).max():.3f}; {differ.sum()} of "
            f"{(p_exact > THRESHOLD).sum()} marks differ, within {edge:.3f} of the threshold\n"
            f"  candidates: {same.sum()} in both, |Δp| {most:.3f}; {(~same).sum()} in bfloat16 "
            f"alone, p {alone:.3f}; {lost.sum()} in float32 alone\n"
            f"  CPU seconds of marking: {fast_s:.0f} in bfloat16, {exact_s:.0f} in float32"
        )


if __name__ == "__main__":
    main()

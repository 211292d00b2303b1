"""Time `diagnose` against the book's way on the same scan, and compare what they find.

    python scripts/bench_diagnose.py SCAN --weights MODELS [--slices 300]

`--slices` resamples the scan along its index axis first, so that a thick-slice scan stands
for a thin-slice one of the same anatomy. The book's way is its chapter-14 program without
its data loaders: float32, whole slices, batches of four, one crop at a time, default memory
layout. `--only default` skips it and prints the peak memory of luna's way. `--precision auto`
marks in bfloat16 where the hardware has it.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.geometry import Geometry
from luna.ct.lungs.find import find_lungs
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect.config import DiagnoseConfig, SegmentConfig
from luna.detect.findings import Findings
from luna.detect.pipeline import diagnose
from luna.nets.models import Models, load_models
from luna.run.device import choose_device

MARK = 0.5
SAME_PLACE_VOX = 1.0
BATCH = 4
CROP_IRC = np.array([32, 48, 48])


def resampled(scan: Scan, slices: int) -> Scan:
    """The scan with another number of slices, linear between the old ones."""
    depth = scan.shape_irc[0]
    at = np.linspace(0, depth - 1, slices)
    low = np.minimum(at.astype(int), depth - 2)
    hu = np.empty((slices, *scan.shape_irc[1:]), dtype=np.int16)
    for k in range(slices):
        part = at[k] - low[k]
        hu[k] = np.rint((1 - part) * scan.hu[low[k]] + part * scan.hu[low[k] + 1])
    x, y, z = scan.geometry.spacing_xyz
    spacing = (x, y, z * (depth - 1) / (slices - 1))
    geometry = Geometry(scan.geometry.origin_xyz, spacing, scan.geometry.direction)
    return replace(scan, hu=hu, geometry=geometry)


def book_way(
    scan: Scan, models: Models
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, float]]:
    """Centres (M, 3) in voxels, probabilities (M,), and seconds per stage."""
    unet = models.segmentation.module.to(memory_format=torch.contiguous_format)
    classifier = models.nodule.module.to(memory_format=torch.contiguous_format)
    seconds: dict[str, float] = {}
    hu = scan.hu.astype(np.float32).clip(-1000, 1000)
    with torch.no_grad():
        start = time.perf_counter()
        p_voxel = np.zeros_like(hu)
        for first in range(0, len(hu), BATCH):
            index = range(first, min(first + BATCH, len(hu)))
            context = [np.clip(np.arange(k - 3, k + 4), 0, len(hu) - 1) for k in index]
            p = torch.sigmoid(unet(torch.from_numpy(np.stack([hu[c] for c in context]))))
            p_voxel[index.start : index.stop] = p[:, 0].numpy()
        seconds["segment"] = time.perf_counter() - start

        start = time.perf_counter()
        labels, count = ndimage.label(ndimage.binary_erosion(p_voxel > MARK))
        found = ndimage.center_of_mass(hu + 1001, labels, np.arange(1, count + 1))
        center_irc = np.array(found).reshape(-1, 3)
        seconds["group"] = time.perf_counter() - start

        start = time.perf_counter()
        p_nodule = np.empty(count)
        for first in range(0, count, BATCH):
            crops = []
            for center in np.rint(center_irc[first : first + BATCH]).astype(int):
                low = np.clip(center - CROP_IRC // 2, 0, np.array(hu.shape) - CROP_IRC)
                crops.append(hu[tuple(slice(a, a + n) for a, n in zip(low, CROP_IRC, strict=True))])
            logits = classifier(torch.from_numpy(np.stack(crops))[:, None])
            p_nodule[first : first + BATCH] = torch.softmax(logits, dim=1)[:, 1].numpy()
        seconds["classify"] = time.perf_counter() - start
    return center_irc, p_nodule, seconds


def compare(
    scan: Scan, center_irc: NDArray[np.float64], p_nodule: NDArray[np.float64], ours: Findings
) -> float:
    """Print every mark above 0.5 inside the lungs, of either side; the largest |Δp|."""
    inside = find_lungs(scan).label_at(center_irc) > 0
    book = (center_irc[inside], p_nodule[inside])
    luna = (ours.candidates.center_irc, ours.candidates.p_nodule)
    worst = 0.0
    print(f"{'index':>7} {'row':>6} {'column':>6}  {'book':>8}  {'luna':>8}  {'|Δp|':>7}")
    for here, there, swap in ((book, luna, False), (luna, book, True)):
        for center, p in zip(*here, strict=True):
            if p <= MARK:
                continue
            distance = np.linalg.norm(there[0] - center, axis=1)
            near = int(distance.argmin()) if distance.size else -1
            other = there[1][near] if near >= 0 and distance[near] < SAME_PLACE_VOX else np.nan
            worst = max(worst, 1.0 if np.isnan(other) else abs(p - other))
            if not swap or np.isnan(other) or other <= MARK:
                pair = (other, p) if swap else (p, other)
                i, r, c = center
                print(
                    f"{i:7.1f} {r:6.1f} {c:6.1f}  "
                    f"{pair[0]:8.5f}  {pair[1]:8.5f}  {abs(p - other):7.5f}"
                )
    return worst


def stages(name: str, seconds: Mapping[str, float], total: float | None = None) -> float:
    """Print seconds per stage; their total, or that of the clock."""
    total = sum(seconds.values()) if total is None else total
    print(f"{name}  " + "  ".join(f"{k} {v:.1f} s" for k, v in seconds.items()), end="")
    print(f"  total {total:.1f} s", flush=True)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scan", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--slices", type=int)
    parser.add_argument("--only", choices=["default"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "auto"])
    arguments = parser.parse_args()

    device = choose_device(arguments.device)
    models = load_models([arguments.weights])
    scan = read_scan(arguments.scan)
    if arguments.slices:
        scan = resampled(scan, arguments.slices)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {device}")
    print("scan " + "×".join(map(str, scan.shape_irc)))

    # The reference goes first: luna's way changes the allocator of the whole process.
    if not arguments.only:
        center_irc, p_nodule, seconds = book_way(scan, models)
        book_total = stages("book", seconds)
    start = time.perf_counter()
    config = DiagnoseConfig(segment=SegmentConfig(precision=arguments.precision))
    ours = diagnose(scan, models, config, device)
    total = stages("luna", ours.seconds, time.perf_counter() - start)
    if arguments.only:
        peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"peak memory, scan included: {peak_gib:.2f} GiB")
        return
    print(f"ratio {book_total / total:.1f}×")
    worst = compare(scan, center_irc, p_nodule, ours)
    print(f"largest |Δp| {worst:.5f}")
    sys.exit(int(worst > 0.02))


if __name__ == "__main__":
    main()

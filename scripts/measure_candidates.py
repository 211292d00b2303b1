"""Count the nodules that have a candidate at their place, of those that the segmenter marks.

Arguments are image files or folders of one DICOM series. The nodules are those of the tables given
by `--annotations`, in LUNA16's columns, or with `--planted N` N lumpy balls of 4 to 34 mm that are
put into each scan's lungs, a third of them at the wall. A nodule is marked when half of a ball of
its diameter is. Prints Markdown, one row for the pieces of the mask alone and one for pieces and
balls:

    python scripts/measure_candidates.py SCANS… --weights shipped --planted 25
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.lungs.find import Lungs, find_lungs
from luna.ct.mask import BoxMask
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect.balls import within
from luna.detect.config import SegmentConfig
from luna.detect.group import group
from luna.detect.segment import segment
from luna.nets.models import load_models

PLACE = 1 / 3
"""A candidate within so many radii of a nodule's centre is at its place."""

MARKED = 0.5
DIAMETERS_MM = (4.0, 34.0)
APART_MM = 12.0
WALL_MM = 4.0
"""The lungs' outline reaches so far into the wall."""

Nodules = list[tuple[NDArray[np.float64], float]]
"""Centre in voxels and radius in mm."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--weights", nargs="+", default=["shipped"])
    parser.add_argument("--annotations", nargs="*", default=[], type=Path)
    parser.add_argument("--planted", type=int, default=0)
    options = parser.parse_args()
    card = load_models(options.weights).segmentation
    known = [row for path in options.annotations for row in csv.DictReader(path.open())]
    ways = {"pieces": [0, 0], "pieces and balls": [0, 0]}
    nodules_in_all = marked_in_all = 0
    for number, path in enumerate(options.scans):
        scan = read_scan(path)
        lungs = find_lungs(scan)
        nodules = annotated(scan, known)
        if options.planted:
            scan, nodules = plant(scan, lungs, options.planted, seed=100 + number)
            lungs = find_lungs(scan)
        found = segment(
            scan, lungs, card, SegmentConfig(), torch.device("cpu"), lambda done, total: None
        )
        marked = [nodule for nodule in nodules if share_marked(scan, found, nodule) >= MARKED]
        nodules_in_all += len(nodules)
        marked_in_all += len(marked)
        for way, count in ways.items():
            center_irc = group(scan, found, card.card.erosion, balls=way != "pieces").center_irc
            center_irc = center_irc[lungs.label_at(center_irc) > 0]
            count[0] += sum(at_place(scan, center_irc, nodule) for nodule in marked)
            count[1] += len(center_irc)
    print(f"{nodules_in_all} nodules in {len(options.scans)} scans, {marked_in_all} marked\n")
    print("| candidates | at their place | share of marked | a scan |\n|---|---:|---:|---:|")
    for way, (hits, total) in ways.items():
        share = hits / max(marked_in_all, 1)
        print(f"| {way} | {hits} | {share:.3f} | {total / len(options.scans):.0f} |")


def annotated(scan: Scan, rows: list[dict[str, str]]) -> Nodules:
    return [
        (
            scan.geometry.irc_from_xyz([float(row[f"coord{axis}"]) for axis in "XYZ"]),
            float(row["diameter_mm"]) / 2,
        )
        for row in rows
        if row["seriesuid"] == scan.series_uid
    ]


def share_marked(scan: Scan, found: BoxMask, nodule: tuple[NDArray[np.float64], float]) -> float:
    center_irc, radius_mm = nodule
    spacing = np.array(scan.geometry.spacing_irc)
    box, near = within(found.voxels.shape, spacing, center_irc - found.start_irc, radius_mm)
    ball_vox = 4 / 3 * np.pi * radius_mm**3 / spacing.prod()
    return float(np.count_nonzero(found.voxels[box] & near) / ball_vox)


def at_place(
    scan: Scan, center_irc: NDArray[np.float64], nodule: tuple[NDArray[np.float64], float]
) -> bool:
    far_mm = np.linalg.norm((center_irc - nodule[0]) * scan.geometry.spacing_irc, axis=1)
    return bool((far_mm <= PLACE * nodule[1]).any())


def plant(scan: Scan, lungs: Lungs, count: int, seed: int) -> tuple[Scan, Nodules]:
    """Put balls with their centres in aerated lung, APART_MM from each other."""
    rng = np.random.default_rng(seed)
    spacing = np.array(scan.geometry.spacing_irc)
    outline = ndimage.distance_transform_edt(lungs.labels > 0, sampling=lungs.spacing_irc)
    to_wall_mm = ndimage.distance_transform_edt(outline > WALL_MM, sampling=lungs.spacing_irc)
    places = np.argwhere(lungs.aerated & (outline > WALL_MM))
    hu = scan.hu.astype(np.float32)
    nodules: Nodules = []
    for _ in range(3000):
        radius_mm = float(np.exp(rng.uniform(*np.log(DIAMETERS_MM)))) / 2
        place = places[rng.integers(len(places))]
        wall_mm = to_wall_mm[tuple(place)]
        if radius_mm > 1.6 * wall_mm or (rng.random() < 0.5 and radius_mm <= wall_mm):
            continue
        center_irc = (place + 0.5) * lungs.factor_irc - 0.5 + rng.uniform(-0.5, 0.5, 3)
        if any(
            np.linalg.norm((center_irc - other) * spacing) < radius_mm + other_mm + APART_MM
            for other, other_mm in nodules
        ):
            continue
        put(hu, spacing, center_irc, radius_mm, rng)
        nodules.append((center_irc, radius_mm))
        if len(nodules) == count:
            break
    return replace(scan, hu=np.rint(hu).astype(np.int16)), nodules


def put(
    hu: NDArray[np.float32],
    spacing: NDArray[np.float64],
    center_irc: NDArray[np.float64],
    radius_mm: float,
    rng: np.random.Generator,
) -> None:
    """Add one lumpy, slightly blurred and noisy ball to a volume; vessels in it stay."""
    box, _ = within(hu.shape, spacing, center_irc, radius_mm + 4)
    offset_mm = (np.moveaxis(np.mgrid[box], 0, -1) - center_irc) * spacing
    far_mm = np.linalg.norm(offset_mm, axis=-1)
    toward = offset_mm / np.maximum(far_mm, 1e-6)[..., None]
    waves = zip(
        rng.normal(0, 0.05, 4), rng.normal(0, 2.5, (4, 3)), rng.uniform(0, 6, 4), strict=True
    )
    lumps = sum(high * np.sin(toward @ wave + phase) for high, wave, phase in waves)
    share = 1 / (1 + np.exp(-(radius_mm * (1 + lumps) - far_mm) / 0.45))
    density_hu = rng.choice([40, 30, -100, -400], p=[0.45, 0.35, 0.1, 0.1])
    noise_hu = 2 * ndimage.gaussian_filter(rng.normal(0, 20, share.shape), 0.7)
    tissue = hu[box] + share * (density_hu + noise_hu - hu[box])
    hu[box] = np.maximum(hu[box], tissue)


if __name__ == "__main__":
    main()

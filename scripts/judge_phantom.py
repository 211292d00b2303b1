"""Let networks that have only seen patients judge synthetic scans.

Makes SCANS phantoms, runs `diagnose` on each and prints, as Markdown, which nodules were
found (a finding within the nodule's radius) and how many findings were none:

    python scripts/judge_phantom.py --weights SEG.state CLS.state --scans 10 --seed 1
"""

import argparse
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np

from luna.detect.config import DiagnoseConfig
from luna.detect.findings import Findings
from luna.detect.pipeline import diagnose
from luna.nets.models import load_models
from luna.phantom.config import NODULE_KINDS, PhantomConfig
from luna.phantom.phantom import Nodule, make_scan
from luna.run.device import choose_device

SIZE_EDGES_MM = (3.0, 6.0, 10.0, 31.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", nargs="+", type=Path, required=True)
    parser.add_argument("--scans", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    models = load_models(arguments.weights)
    device = choose_device(arguments.device)
    made, found = Counter(), Counter()
    print("| scan | slices | mm | nodules | found | false marks | candidates |")
    print("|---|---|---|---|---|---|---|")
    for number in range(arguments.scans):
        phantom = make_scan(arguments.seed, PhantomConfig(), number)
        findings = diagnose(phantom.scan, models, DiagnoseConfig(threshold=0.5), device)
        hits, false_marks = match(phantom.nodules, findings)
        for nodule, hit in zip(phantom.nodules, hits, strict=True):
            made[group_of(nodule)] += 1
            found[group_of(nodule)] += hit
        made["false"] += false_marks
        thickness = phantom.scan.geometry.spacing_irc[0]
        names = ", ".join(
            f"{n.kind} {n.diameter_mm:.1f}{'' if h else ' (missed)'}"
            for n, h in zip(phantom.nodules, hits, strict=True)
        )
        print(
            f"| {number} | {phantom.scan.shape_irc[0]} | {thickness:.2f} | {names} "
            f"| {sum(hits)} of {len(hits)} | {false_marks} | {len(findings.candidates.p_nodule)} |",
            flush=True,
        )
    print("\n| kind | " + " | ".join(size_names()) + " |\n|---|" + "---|" * len(size_names()))
    for kind in NODULE_KINDS:
        cells = [f"{found[kind, s]} of {made[kind, s]}" for s in size_names()]
        print(f"| {kind} | " + " | ".join(cells) + " |")
    print(f"\nFalse marks per scan: {made['false'] / arguments.scans:.1f}")


def match(nodules: tuple[Nodule, ...], findings: Findings) -> tuple[list[bool], int]:
    """Which nodules have a finding within their radius, and how many findings have none."""
    marks = np.array([f.center_xyz for f in findings.findings]).reshape(-1, 3)
    centers = np.array([n.center_xyz for n in nodules]).reshape(-1, 3)
    radii = np.array([n.diameter_mm for n in nodules]) / 2
    near = np.linalg.norm(marks[:, None] - centers[None], axis=-1) <= radii
    return near.any(axis=0).tolist(), int((~near.any(axis=1)).sum())


def group_of(nodule: Nodule) -> tuple[str, str]:
    """The table cell of a nodule: kind and size class."""
    place = int(np.searchsorted(SIZE_EDGES_MM, nodule.diameter_mm, side="right")) - 1
    return nodule.kind, size_names()[min(max(place, 0), len(size_names()) - 1)]


def size_names() -> list[str]:
    """Names of the size classes."""
    return [f"{a:g}–{b:g} mm" for a, b in pairwise(SIZE_EDGES_MM)]


if __name__ == "__main__":
    main()

"""How near the two kinds of nodule mask come to the truth, on synthetic scans.

Prints, as Markdown, the Dice coefficient of the book's growth and of luna's bounded mask
against the voxels that the phantom painted:

    python scripts/compare_nodule_masks.py --scans 10 --seed 77
"""

import argparse
from collections import defaultdict

import numpy as np

from luna.data.nodule_mask import nodule_mask
from luna.phantom.config import NODULE_KINDS, PhantomConfig
from luna.phantom.phantom import Nodule, Phantom, make_scan

METHODS = ("book", "bounded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=10)
    parser.add_argument("--seed", type=int, default=77)
    arguments = parser.parse_args()
    config = PhantomConfig(slab_mm=120, without_nodules=0, extra_nodules=4)
    rows = defaultdict(list)
    for number in range(arguments.scans):
        phantom = make_scan(arguments.seed, config, number)
        for nodule in phantom.nodules:
            scores = [score(phantom, nodule, method) for method in METHODS]
            for group in (nodule.kind, size_of(nodule), "all"):
                rows[group].append(scores)
    print("| nodules | n | " + " | ".join(f"{m}: Dice | volume ratio" for m in METHODS) + " |")
    print("|---|---|" + "---|---|" * len(METHODS))
    for group in (*NODULE_KINDS, "3–6 mm", "6–10 mm", "10–31 mm", "all"):
        if rows[group]:
            table = np.array(rows[group])
            means, ratios = table[..., 0].mean(axis=0), np.median(table[..., 1], axis=0)
            cells = [f"{d:.2f} | {r:.2f}" for d, r in zip(means, ratios, strict=True)]
            print(f"| {group} | {len(table)} | " + " | ".join(cells) + " |")


def score(phantom: Phantom, nodule: Nodule, method: str) -> tuple[float, float]:
    """Dice, and the mask's volume over the true one."""
    truth = np.zeros(phantom.scan.shape_irc, dtype=bool)
    stop = np.add(nodule.start_irc, nodule.voxels.shape)
    truth[tuple(slice(a, b) for a, b in zip(nodule.start_irc, stop, strict=True))] = nodule.voxels
    mask = nodule_mask(phantom.scan, [nodule.center_xyz], [nodule.diameter_mm], method)
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    return float(dice), float(mask.sum() / truth.sum())


def size_of(nodule: Nodule) -> str:
    """The size class of a nodule."""
    if nodule.diameter_mm < 6:
        return "3–6 mm"
    return "6–10 mm" if nodule.diameter_mm < 10 else "10–31 mm"


if __name__ == "__main__":
    main()

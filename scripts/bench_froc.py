"""Time the FROC of a made-up submission as large as LUNA16's, from CSV files to intervals.

    python scripts/bench_froc.py [--marks 20000]

The challenge's own script takes about 28 s for 20,728 marks and 1,000 bootstrap samples.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from luna.score.evaluation import EvaluationConfig, score_detections
from luna.score.froc import froc, froc_items
from luna.score.marks import Cohort, read_cohort, read_excluded, read_marks, read_nodules
from luna.score.matching import match

SCANS, NODULES, EXCLUDED = 888, 1186, 35192
CHEST_MM = 300.0
REPEATS = 3


def write_tables(folder: Path, marks: int) -> None:
    """A submission that finds nine nodules in ten, and tables of LUNA16's size."""
    rng = np.random.default_rng(0)
    uids = [f"1.2.826.0.1.{scan}" for scan in range(SCANS)]
    (folder / "series.csv").write_text("\n".join(uids) + "\n")
    nodule_xyz = rng.uniform(0, CHEST_MM, (NODULES, 3))
    nodule_scan = rng.integers(SCANS, size=NODULES)
    size_mm = rng.uniform(3, 30, NODULES)
    hits = np.flatnonzero(rng.random(NODULES) < 0.9)
    false = marks - len(hits)
    scan = np.append(nodule_scan[hits], rng.integers(SCANS, size=false))
    center = np.vstack([nodule_xyz[hits], rng.uniform(0, CHEST_MM, (false, 3))])
    p = np.append(rng.beta(4, 2, len(hits)), rng.beta(1, 6, false))
    unsized = np.full(EXCLUDED, -1.0)
    others = rng.uniform(0, CHEST_MM, (EXCLUDED, 3))
    other_scan = rng.integers(SCANS, size=EXCLUDED)
    for name, column, where, points, values in (
        ("marks", "probability", scan, center, p),
        ("nodules", "diameter_mm", nodule_scan, nodule_xyz, size_mm),
        ("excluded", "diameter_mm", other_scan, others, unsized),
    ):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["seriesuid", "coordX", "coordY", "coordZ", column])
            rows = zip(where, points.tolist(), values.tolist(), strict=True)
            writer.writerows([uids[s], *xyz, value] for s, xyz, value in rows)


def fastest(work: Callable[[], object]) -> float:
    """The least of a few wall times in seconds: the one least disturbed."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print a table of wall times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--marks", type=int, default=20_000)
    count = parser.parse_args().marks
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, count)

        def load(cohort: Cohort):
            return (
                read_marks(folder / "marks.csv", cohort),
                read_nodules(folder / "nodules.csv", cohort),
                read_excluded(folder / "excluded.csv", cohort),
            )

        def score(samples: int) -> None:
            cohort = read_cohort(folder / "series.csv")
            froc(froc_items(match(cohort, *load(cohort))), samples=samples, seed=0)

        def score_all() -> None:
            cohort = read_cohort(folder / "series.csv")
            score_detections(cohort, *load(cohort), config=EvaluationConfig())

        steps = {
            "read CSV, match, FROC, CPM": lambda: score(0),
            "the same with 1,000 bootstrap samples": lambda: score(1000),
            "everything `luna evaluate` computes": score_all,
        }
        print(f"{count:,} marks, {SCANS} scans, {NODULES:,} nodules, {EXCLUDED:,} excluded\n")
        print("| step | seconds |\n|---|---:|")
        for step, work in steps.items():
            print(f"| {step} | {fastest(work):.2f} |")


if __name__ == "__main__":
    main()

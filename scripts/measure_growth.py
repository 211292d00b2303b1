"""Compare pairs of phantom scans of one patient, and print how accurate the growth is.

    python scripts/measure_growth.py --pairs 4

Each pair has another scanner, noise, position and breath, nodules that grew by known factors, one
that is new and one that is gone. Truth is what was painted. docs/priors.md has the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from math import log, pi

import numpy as np

from luna.clinical.growth import doubling_days, volume_class
from luna.detect.pipeline import diagnose
from luna.detect.prior.changes import Change, Comparison
from luna.detect.prior.compare import compare
from luna.detect.prior.fit import fit_prior
from luna.nets.models import SHIPPED, load_models
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import Nodule, Phantom, make_scan
from luna.phantom.visit import Visit

DAYS = 365
CONFIG = PhantomConfig(
    slab_mm=110,
    slice_mm=(1.0, 1.5),
    without_nodules=0,
    extra_nodules=7,
    diameter_median_mm=9,
    oblique_share=1,
)
BEFORE = Visit(number=1, volume_factors=(1, 1, 1, 0, 1))
NOW = Visit(number=2, rise_mm=10, volume_factors=(1.5, 2, 3, 1, 0))
NEAR_MM = 4.0


@dataclass(frozen=True)
class Row:
    """One nodule of a pair: what was painted, and what luna says of it."""

    pair: int
    number: int
    kind: str
    diameter_mm: float
    expected: str
    change: Change | None
    true_days: float | None

    @property
    def ratio(self) -> float | None:
        """The logarithm of the measured over the true volume factor; None if either is unknown."""
        if self.change is None or self.change.volume_change is None or self.true_days is None:
            return None
        return log(1 + self.change.volume_change) - (
            0.0 if self.true_days == np.inf else DAYS * log(2) / self.true_days
        )

    @property
    def days_error(self) -> float | None:
        """Relative error of the doubling time of a nodule that grew."""
        measured = self.change.doubling_days if self.change else None
        if self.expected != "grown" or measured is None or self.true_days is None:
            return None
        return measured / self.true_days - 1


def rows_of(pair: int, before: Phantom, now: Phantom, found: Comparison) -> Iterator[Row]:
    """Pair each painted nodule with the change that luna reports for it."""
    first, second = ({n.number: n for n in p.nodules} for p in (before, now))
    for number in sorted(first | second):
        a, b = first.get(number), second.get(number)
        yield Row(
            pair=pair,
            number=number,
            kind=(a or b).kind,  # type: ignore[union-attr]  # one of the two is there
            diameter_mm=min(n.diameter_mm for n in (a, b) if n),
            expected=expected(a, b),
            change=reported(a, b, found),
            true_days=None if a is None or b is None else true_days(a, b),
        )


def volume_mm3(nodule: Nodule) -> float:
    return pi / 6 * nodule.diameter_mm**3


def expected(a: Nodule | None, b: Nodule | None) -> str:
    if a is None or b is None:
        return "new" if a is None else "gone"
    return volume_class(volume_mm3(b) / volume_mm3(a) - 1)


def true_days(a: Nodule, b: Nodule) -> float:
    return doubling_days(volume_mm3(a), volume_mm3(b), DAYS)


def reported(a: Nodule | None, b: Nodule | None, found: Comparison) -> Change | None:
    """Return the change that has the nodule at its place in both scans, or None."""
    for change in found.changes:
        at = ((a, change.prior_xyz), (b, change.now_xyz))
        gaps = [np.linalg.norm(np.subtract(n.center_xyz, xyz)) for n, xyz in at if n]
        if max(gaps) <= NEAR_MM:
            return change
    return None


def line(row: Row) -> str:
    change, error = row.change, row.days_error
    shown = "not found in either" if change is None else change.verdict
    days = "–" if error is None else f"{row.true_days:.0f}"
    measured = "–" if error is None or change is None else f"{change.doubling_days:.0f}"
    return (
        f"| {row.pair} | {row.number} | {row.kind} | {row.diameter_mm:.1f} | {row.expected} | "
        f"{shown} | {days} | {measured} | {'–' if error is None else f'{error:+.0%}'} |"
    )


def summary(rows: list[Row]) -> Iterator[str]:
    """Summarise all pairs in sentences."""
    seen = [r for r in rows if r.change is not None]
    yield f"{len(seen)} of {len(rows)} nodules are reported, in the right place in both scans"
    for least in (0.0, 6.0):
        large = [r for r in seen if r.diameter_mm >= least]
        right = sum(r.change.verdict == r.expected for r in large if r.change)
        errors = [abs(r.days_error) for r in large if r.days_error is not None]
        ratios = [r.ratio for r in large if r.ratio is not None]
        spread = 1.96 * float(np.std(ratios))
        yield (
            f"from {least:g} mm: verdict right in {right} of {len(large)}; doubling time within "
            f"10 % in {sum(e <= 0.1 for e in errors)} of {len(errors)}, median error "
            f"{np.median(errors):.0%}; 95 % of changes of volume within a factor of "
            f"{np.exp(spread):.2f}"
        )


def main() -> None:
    """Make the pairs, compare them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=77)
    arguments = parser.parse_args()
    models = load_models([SHIPPED])
    print("| pair | nodule | kind | mm | expected | found | true days | days | error |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows: list[Row] = []
    for pair in range(arguments.pairs):
        before, now = (make_scan(arguments.seed, CONFIG, pair, v) for v in (BEFORE, NOW))
        prior = fit_prior(now.scan, before.scan, DAYS)
        found = diagnose(now.scan, models, lungs=prior.own_lungs)
        new = list(rows_of(pair, before, now, compare(now.scan, found, prior, models)))
        rows += new
        print(*map(line, new), sep="\n", flush=True)
    print(*summary(rows), sep="\n")


if __name__ == "__main__":
    main()

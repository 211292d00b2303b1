"""Count what a coordinator holds of many scans: `python scripts/bench_batch.py [ITEMS]`.

Simulated scans, four of each patient with their priors, of which a worker makes a result as large
as a scan's entry in the list, on two workers of `--cluster local:2` unless another cluster is
given; `--cluster none` makes the results in this process. Prints the items in flight, and the
memory of this process, which has the scheduler of a local cluster in it too, at the beginning and
at the end.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from luna.ct.dicom.listed import Part
from luna.ct.listing.priors import find_priors
from luna.ct.listing.source import Source, Visit
from luna.report.batch.entry import Entry, Worst
from luna.run.batch import Done, Engine, Outcome, ThisProcess, run_batch
from luna.run.batch.cluster import Cluster

KIB = 1 << 10
STUDIES = 4


@dataclass(frozen=True)
class Simulated:
    """Returns an entry of a scan that nobody looked at."""

    def __call__(self, name: str, source: Source) -> Done[Entry]:
        worst = Worst(
            name="finding 1", p_nodule=0.9, p_malignant=0.4, long_axis_mm=12.3,
            short_axis_mm=8.0, side="left", slice_number=14,
        )  # fmt: skip
        entry = Entry(
            folder=name, series_uid=name, status="findings", findings=1, opacities=0,
            slices=300, slice_mm=1.25, worst=worst, limits=(), warnings=0, seconds=30.0,
        )  # fmt: skip
        return Done(result=entry)


class Taken(dict[str, Source]):
    """Sources that count how many of them are taken and not yet done."""

    flying = most = 0

    def __getitem__(self, name: str) -> Source:
        self.flying += 1
        self.most = max(self.most, self.flying)
        return super().__getitem__(name)


def simulated_source(number: int, name: str) -> Source:
    """Return a series as it is found in a folder of its own; a patient has STUDIES of them."""
    folder = Path(f"/archive/{name}")
    visit = Visit(
        patient=f"P{number // STUDIES}", issuer="", study=f"{name}.0",
        date=f"{2020 + number % STUDIES}0101", time="080000",
        preference=(False, 1.25, 0, -300, name),
    )  # fmt: skip
    return Source(folder, name, (Part(folder),), visit)


def memory_kib() -> int:
    """Return the memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // KIB


def main() -> None:
    """Run the items and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", type=int, nargs="?", default=100_000)
    parser.add_argument("--cluster", default="local:2")
    parser.add_argument("--every", type=int, default=10_000, help="items between two rows")
    asked = parser.parse_args()
    before = memory_kib()
    names = [f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{n:030d}" for n in range(asked.items)]
    scans = Taken({name: simulated_source(n, name) for n, name in enumerate(names)})
    after = find_priors(dict(scans)).of
    listed = memory_kib()
    print(f"{'items':>9} {'in flight at most':>18} {'MiB':>8} {'CPU s here':>11}")
    done = 0

    def each(name: str, outcome: Outcome[Entry]) -> None:
        nonlocal done
        done += 1
        scans.flying -= 1
        if done % asked.every == 0 or done == 1:
            used = time.process_time()
            print(
                f"{done:>9} {scans.most:>18} {memory_kib() / KIB:>8.0f} {used:>11.0f}", flush=True
            )

    alone = asked.cluster == "none"
    engine: Engine = ThisProcess() if alone else Cluster(asked.cluster, warn=print)
    batch = run_batch("scan", scans, Simulated(), engine, each=each, after=after)
    after = memory_kib()
    print(f"list with priors: {(listed - before) * KIB / asked.items:.0f} bytes an item")
    print(
        f"list and results: {(after - before) * KIB / asked.items:.0f} bytes an item"
        + ("" if alone else ", with Dask")
    )
    print(f"{len(batch.results)} results, {len(batch.failures)} failures")


if __name__ == "__main__":
    main()

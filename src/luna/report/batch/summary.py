"""The outcomes of many scans, as `summary.json` and `summary.csv`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from luna import __version__
from luna.ct.listing.find import Listing
from luna.report.batch.entry import Entry, Worst
from luna.report.document import NOTICE
from luna.run.files import replace_file
from luna.run.table import write_table

SCHEMA = "luna-summary/1"

FAILED = "failed"

ROW = tuple(item.name for item in fields(Entry) if item.name not in ("worst", "limits"))
WORST = tuple(item.name for item in fields(Worst))
HEADER = (*ROW, *(f"worst_{name}" for name in WORST), "limits", "reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Entries of the diagnosed scans and reasons of those that failed, by name.

    `left` names the scans that a stop left for another run; the listing says which files could
    not be read and which were left out.
    """

    listing: Listing
    entries: dict[str, Entry]
    failures: dict[str, str]
    left: tuple[str, ...] = ()

    @property
    def bad(self) -> int:
        """Return how many scans and files could not be read or judged."""
        return len(self.failures) + len(self.listing.damaged)

    def ordered(self) -> list[Entry]:
        """Return the entries, the worst first."""
        return sorted(self.entries.values(), key=Entry.order)

    def counts(self) -> dict[str, int]:
        """Return the number of scans of each status, and of those that failed or are left."""
        found = Counter[str](entry.status for entry in self.entries.values())
        return {**found, FAILED: self.bad, "left": len(self.left)}

    def damaged_files(self) -> list[tuple[str, str]]:
        """Return files by name, and why they cannot be read: reports travel further than paths."""
        return [(Path(file).name, reason) for file, reason in self.listing.damaged.items()]


def write_json(summary: Summary, path: Path) -> None:
    """Write all outcomes of the scans as JSON."""
    listing = summary.listing
    values = {
        "schema": SCHEMA,
        "luna": __version__,
        "notice": NOTICE,
        "rule": listing.rule,
        "priors": listing.priors.sentences() if listing.priors else [],
        "studies": listing.studies,
        "left_out": listing.left_out,
        "counts": summary.counts(),
        "scans": [asdict(entry) for entry in summary.ordered()],
        "failures": summary.failures,
        "damaged": [{"file": name, "reason": why} for name, why in summary.damaged_files()],
        "left": summary.left,
    }
    with replace_file(path) as temporary:
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def write_csv(summary: Summary, path: Path) -> None:
    """Write a row for each scan; those without a report have a reason in the last column."""
    write_table(path, [HEADER, *_rows(summary)])


def _rows(summary: Summary) -> Iterator[Sequence[Any]]:
    for entry in summary.ordered():
        worst = [getattr(entry.worst, name) if entry.worst else "" for name in WORST]
        own = [getattr(entry, name) for name in ROW]
        yield [
            *own,
            *("" if value is None else value for value in worst),
            " ".join(entry.limits),
            "",
        ]
    place = HEADER.index("status")
    for name, reason in [*summary.failures.items(), *summary.damaged_files()]:
        row: list[Any] = [""] * len(HEADER)
        row[0], row[place], row[-1] = name, FAILED, reason
        yield row

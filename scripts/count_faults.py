"""Counts the fault cases of tests/faults, file by file: .venv/bin/python scripts/count_faults.py

A case is one test with one set of parameters; an example one input of a hypothesis test; a kill
one run that is killed and gone on with. Many cases try several damages in a loop.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

FAULTS = Path(__file__).resolve().parents[1] / "tests" / "faults"
COLUMNS = ("cases", "slow cases", "examples", "slow examples", "kills", "slow kills")


class Collected:
    """Keeps what pytest has collected."""

    items: list[pytest.Item]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items


def collected() -> list[pytest.Item]:
    """Every test below tests/faults, slow ones too; none is run."""
    found = Collected()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["--collect-only", "-q", "-m", "", str(FAULTS)], plugins=[found])
    if code != pytest.ExitCode.OK:
        raise SystemExit(said.getvalue())
    return found.items


def counts_of(item: Any) -> Counter[str]:
    """What one test adds to the columns."""
    slow = "slow " if item.get_closest_marker("slow") else ""
    settings = getattr(item.obj, "_hypothesis_internal_use_settings", None)
    counts = Counter({f"{slow}cases": 1})
    if settings is not None:
        counts[f"{slow}examples"] = settings.max_examples
    if "killed_run" in item.name:
        counts[f"{slow}kills"] = 1
    return counts


def main() -> None:
    by_file: dict[str, Counter[str]] = {}
    for item in collected():
        by_file.setdefault(item.path.name, Counter()).update(counts_of(item))
    by_file["all"] = sum(by_file.values(), Counter())
    print("| file |", " | ".join(COLUMNS), "|")
    print("|---|" + "---:|" * len(COLUMNS))
    for name, counts in by_file.items():
        print(f"| {name} |", " | ".join(str(counts[column] or "–") for column in COLUMNS), "|")


if __name__ == "__main__":
    main()

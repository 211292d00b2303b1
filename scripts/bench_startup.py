"""CPU seconds that `luna` takes to refuse a mistake, and to reach the first slice of a scan.

    python scripts/bench_startup.py SCAN [--runs 5] [--series-of DICOM]

SCAN is any scan that `luna diagnose` reads; DICOM a folder of one series. Each command runs in a
process of its own; the least CPU time (user and system) of the runs is told, since other programs
on the machine only add to it. The first run warms the disk and is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TO_FIRST_SLICE = """
import json, os, resource, sys
from contextlib import contextmanager
from luna.cli import app
from luna.cli.diagnose import command, many

def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

marks = {"the command is known": cpu_s()}
WHEN = {("read", 1): "the scan is read", ("lungs", 0): "torch and the networks are loaded",
        ("lungs", 1): "the lungs are found", ("segment", 0): "the first slice"}

@contextmanager
def progress(*, quiet):
    def advance(stage, done, total, detail=""):
        name = WHEN.get((stage, done))
        if name:
            marks.setdefault(name, cpu_s())
        if name == "the first slice":
            print(json.dumps(marks), flush=True)
            os._exit(0)
    yield advance

command.progress = many.progress = progress
app.run(["diagnose", sys.argv[1], "--out", sys.argv[2], "--device", "cpu", "--quiet"])
sys.exit("the first slice was not reached")
"""


def cpu_seconds(command: list[str]) -> tuple[float, str]:
    """Run a command; its CPU seconds and what it printed."""
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system, done.stdout


def least(command: list[str], runs: int) -> float:
    """The least CPU seconds of a command, after a run that is not counted."""
    return min([cpu_seconds(command)[0] for _ in range(runs + 1)][1:])


def first_slice(scan: Path, runs: int) -> dict[str, float]:
    """CPU seconds from the start to each mark on the way to the first slice; the least of each."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", TO_FIRST_SLICE, str(scan), str(Path(folder, "out"))]
        told = [json.loads(cpu_seconds(command)[1].splitlines()[-1]) for _ in range(runs + 1)][1:]
    return {mark: min(one[mark] for one in told) for mark in told[0]}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--series-of", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    luna = [sys.executable, "-m", "luna"]
    scan, series = str(given.scan), str(given.series_of or given.scan)
    mistakes = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`import torch`": [sys.executable, "-c", "import torch"],
        "`luna --version`": [*luna, "--version"],
        "a wrong path": [*luna, "diagnose", "nowhere"],
        "a wrong option": [*luna, "diagnose", scan, "--nonsense"],
        "a wrong config value": [*luna, "diagnose", scan, "--set", "threshold=2"],
        "a wrong series": [*luna, "diagnose", series, "--series", "no.such"],
    }
    print("| until | CPU s |\n|---|---|")
    for name, command in mistakes.items():
        print(f"| {name} | {least(command, given.runs):.2f} |", flush=True)
    for mark, seconds in first_slice(given.scan, given.runs).items():
        print(f"| `luna diagnose`: {mark} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()

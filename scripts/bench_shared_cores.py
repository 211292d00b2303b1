"""Time `luna diagnose` alone and two at once, with threads that sleep or spin while they wait.

    python scripts/bench_shared_cores.py SCAN

Prints a Markdown table. `luna` lets waiting threads sleep (OMP_WAIT_POLICY=PASSIVE) unless the
variable is set.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(scan: Path, policy: str, at_once: int) -> float:
    """Return the time until the last of several diagnoses has ended."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "luna", "diagnose", str(scan), "--quiet", "--out"]
        begun = time.perf_counter()
        running = [
            subprocess.Popen(
                [*command, f"{folder}/{number}"],
                env=os.environ | {"OMP_WAIT_POLICY": policy},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for number in range(at_once)
        ]
        codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"luna diagnose {scan} ended with {codes}")
    return time.perf_counter() - begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    scan = parser.parse_args().scan
    print("| waiting threads | one diagnosis, s | two at once, s |\n|---|---|---|")
    for name, policy in (("sleep", "PASSIVE"), ("spin", "ACTIVE")):
        alone, both = (seconds(scan, policy, at_once) for at_once in (1, 2))
        print(f"| {name} | {alone:.1f} | {both:.1f} |", flush=True)


if __name__ == "__main__":
    main()

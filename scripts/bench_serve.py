"""Send a scan to `luna serve` many times: what is lost, and what happens to its memory.

    python scripts/bench_serve.py SCAN.zip --weights FOLDER [--one-by-one 100] [--at-once 8]

SCAN.zip is best tiny, and the networks too, since the queue is measured and not they: the table
of docs/serve.md has the crude chest and the networks of tests/conftest.py. The server keeps its
scans in a temporary folder. Memory is the resident set of the page's process and of the worker's,
after so many scans; CPU seconds are of both. Times by the clock are not told: machines are shared.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

MARKS = 10
"""Rows of the table while scans go one by one."""

WAIT_S = 600


def process_of(pid: int) -> tuple[float, float]:
    """The resident MiB and the CPU seconds of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(kib) / 1024, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def worker_of(pid: int) -> int:
    """The process of a server that looks at scans."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = {child: Path(f"/proc/{child}/cmdline").read_text() for child in children}
    (worker,) = [int(child) for child, command in commands.items() if "spawn_main" in command]
    return worker


def send(url: str, scan: Path) -> str:
    """Send a scan; its id."""
    files = {"files": (scan.name, scan.read_bytes())}
    answer = requests.post(f"{url}/api/scans", files=files, timeout=WAIT_S)
    answer.raise_for_status()
    return str(answer.json()["id"])


def wait(url: str, scan: str) -> str:
    """Wait until a scan has ended; its state."""
    while True:
        row: dict[str, Any] = requests.get(f"{url}/api/scans/{scan}", timeout=WAIT_S).json()
        if row["state"] not in ("queued", "running"):
            return str(row["state"])
        time.sleep(0.1)


def tell(name: str, states: list[str], pid: int) -> None:
    """Print a row of the table."""
    (page, page_s), (work, work_s) = process_of(pid), process_of(worker_of(pid))
    done = states.count("done")
    print(
        f"| {name} | {done} | {len(states) - done} | {page:.0f} | {work:.0f} | "
        f"{page_s + work_s:.0f} |",
        flush=True,
    )


def measure(url: str, pid: int, arguments: argparse.Namespace) -> bool:
    """Send scans one by one and at once; whether all were done."""
    print("| scans | done | lost or failed | page, MiB | worker, MiB | CPU s |")
    print("|---|---|---|---|---|---|")
    states: list[str] = []
    step = max(arguments.one_by_one // MARKS, 1)
    for number in range(1, arguments.one_by_one + 1):
        states.append(wait(url, send(url, arguments.scan)))
        if number % step == 0 or number == 1:
            tell(f"{number} one by one", states, pid)
    with ThreadPoolExecutor(arguments.at_once) as senders:
        ids = list(senders.map(lambda _: send(url, arguments.scan), range(arguments.at_once)))
    states += [wait(url, scan) for scan in ids]
    tell(f"{arguments.at_once} more at once", states, pid)
    listed = requests.get(f"{url}/api/scans?most=1000", timeout=WAIT_S).json()["scans"]
    print(f"\nlisted: {len(listed)} of {len(states)}", flush=True)
    return len(listed) == len(states) == states.count("done")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scan", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--one-by-one", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "luna", "serve", "--port", "0", "--data", data]
        command += ["--weights", str(arguments.weights), "--device", "cpu", "--quiet"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None  # noqa: S101 - a pipe was asked for
            whole = measure(server.stdout.readline().strip(), server.pid, arguments)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()

"""A scheduler and workers in processes of their own, as on machines of their own."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DASK = {
    "scheduler": ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"],
    "worker": ["distributed.cli.dask_worker", "--host", "127.0.0.1", "--nthreads", "1"],
}


class RealCluster:
    """The processes of a cluster; what they print goes into a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, what: str, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", *DASK[what], "--no-dashboard"]
        with (self.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--scheduler-file", str(self.file), *more], stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def worker(self, *more: str) -> subprocess.Popen[bytes]:
        return self.start("worker", "--no-nanny", "--local-directory", str(self.folder), *more)


@contextmanager
def real_cluster(folder: Path, workers: int) -> Iterator[RealCluster]:
    """A scheduler and workers without anything that would start them again."""
    cluster = RealCluster(folder)
    try:
        cluster.start("scheduler")
        waited_for(cluster.file)
        for _ in range(workers):
            cluster.worker()
        yield cluster
    finally:
        for process in cluster.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


def waited_for(path: Path) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < end, f"no {path.name}"
        time.sleep(0.02)

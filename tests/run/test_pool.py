"""Worker processes give their results, and neither outlive the run nor end it without a word."""

import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luna.ct.formats.metaimage import read_header
from luna.run import pool as module
from luna.run.errors import EnvironmentFault, InputError
from luna.run.pool import worker_pool

PARENT = """
import os, sys, time
from luna.run.pool import worker_pool
from operator import add

if __name__ == "__main__":
    with worker_pool(1, "--workers") as pool:
        pool.submit(add, 1, 2).result()
        print(*pool._processes, flush=True)
        time.sleep(600)
"""


def test_results_errors_and_their_hints_come_home(tmp_path: Path) -> None:
    with worker_pool(1, "--workers") as pool:
        assert list(pool.map(math.factorial, range(5))) == [1, 1, 2, 6, 24]
        with pytest.raises(InputError) as error:
            pool.submit(read_header, tmp_path).result()
        assert str(error.value) == f"{tmp_path}: not a plain file (a folder, a device or a pipe)"
        # Ctrl-C is the parent's to take.
        assert pool.submit(signal.getsignal, signal.SIGINT).result() is signal.SIG_IGN


def test_a_killed_worker_is_a_fault_of_the_machine() -> None:
    with (
        pytest.raises(EnvironmentFault, match="a worker process was killed") as error,
        worker_pool(1, "--workers") as pool,
    ):
        pool.submit(signal.raise_signal, signal.SIGKILL).result()
    assert error.value.hint == "run again with fewer --workers"


def test_no_shared_memory_is_a_fault_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_pool(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "ProcessPoolExecutor", refuse_pool)
    with (
        pytest.raises(EnvironmentFault, match="no shared memory") as error,
        worker_pool(2, "--workers"),
    ):
        pytest.fail("the block must not run")
    assert "--workers 1" in error.value.hint


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert workers
    parent.kill()
    parent.wait()
    waited_until = time.monotonic() + 60
    while any(_runs(worker) for worker in workers) and time.monotonic() < waited_until:
        time.sleep(0.05)
    parent.stdout.close()
    assert not any(_runs(worker) for worker in workers)


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"

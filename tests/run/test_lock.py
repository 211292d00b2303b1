"""A lock keeps a second holder out, or waiting, and ends with its process."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from luna.run.lock import lock_file

HOLD = """
import os, sys
from luna.run.lock import lock_file
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
lock_file(handle)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def handles(tmp_path: Path) -> Iterator[list[int]]:
    opened = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    yield opened
    for handle in opened:
        os.close(handle)


def test_a_second_holder_is_refused(handles: list[int]) -> None:
    lock_file(handles[0])
    with pytest.raises(BlockingIOError):
        lock_file(handles[1])


def test_one_who_waits_gets_it_when_it_is_free(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    lock_file(first)
    got = threading.Event()

    def wait() -> None:
        lock_file(second, wait=True)
        got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.wait(0.2)
    os.close(first)
    assert got.wait(30)
    thread.join()
    os.close(second)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    handle = os.open(path, os.O_RDWR)
    with pytest.raises(BlockingIOError):
        lock_file(handle)
    holder.kill()
    holder.communicate()
    lock_file(handle)
    os.close(handle)

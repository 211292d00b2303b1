"""What a process may use: a container's bounds count, and nothing unknown is made up."""

import os
import resource
from pathlib import Path

import pytest

from luna.data.prep import plan
from luna.data.prepared import OPEN_VOLUMES_MAX, SPARE_FILES, open_volumes
from luna.run.machine import limits
from luna.run.machine.inspection import inspect_machine

GIB = 1 << 30


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(limits, "CONTAINER_LIMIT", tmp_path / "memory.max")
    return tmp_path / "memory.max"


def test_memory_is_the_machines_without_a_container(container: Path) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert limits.memory_bytes() == whole
    container.write_text("max\n")
    assert limits.memory_bytes() == whole
    container.write_text(f"{whole * 2}\n")
    assert limits.memory_bytes() == whole


def test_a_containers_memory_bounds_workers_and_is_shown(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.write_text(f"{3 * GIB}\n")
    monkeypatch.setattr(plan, "cores", lambda: 16)
    assert limits.memory_bytes() == 3 * GIB
    assert plan.default_workers() == 1  # two would need 4 GiB
    machine = inspect_machine()
    assert machine.memory_gib == 3
    assert any("3.0 GiB of memory" in sentence for sentence in machine.advice)


def test_unknown_memory_bounds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "cores", lambda: 16)
    monkeypatch.setattr(plan, "memory_bytes", lambda: None)
    assert plan.default_workers() == 16

    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert limits.memory_bytes() is None


@pytest.mark.parametrize(
    ("files", "volumes"),
    [
        (1024, 1024 - SPARE_FILES),
        (SPARE_FILES, 1),
        (1 << 20, OPEN_VOLUMES_MAX),
        (resource.RLIM_INFINITY, OPEN_VOLUMES_MAX),
    ],
)
def test_volumes_stay_open_within_the_limit_of_files(
    monkeypatch: pytest.MonkeyPatch, files: int, volumes: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (files, files))
    assert open_volumes() == volumes


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    monkeypatch.setattr(limits.sys, "platform", "linux")
    assert limits.cores() == 1
    monkeypatch.setattr(limits.sys, "platform", "darwin")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert limits.cores() == 1

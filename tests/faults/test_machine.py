"""What the machine refuses: disks, folders, devices. Exit code 4, before computing if it can be."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Outcome, assert_refused

Diagnose = Callable[..., Outcome]


def mount(folder: Path, options: str) -> None:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"no right to mount a small disk here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB: room for a table, not for a report."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=64k")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=64k,ro")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_no_half_report(diagnose: Diagnose, small_disk: Path) -> None:
    outcome = diagnose("--out", small_disk / "report")
    assert_refused(outcome, 4, "the disk is full", "report", "free some space")
    left = [p.name for p in small_disk.rglob("*") if p.is_file()]
    assert "report.html" not in left
    assert not [name for name in left if name.startswith(".tmp")]


def test_a_read_only_disk_is_found_before_computing(
    diagnose: Diagnose, read_only_disk: Path
) -> None:
    outcome = diagnose("--out", read_only_disk / "report")
    assert_refused(outcome, 4, "cannot write here", "--out")
    assert "lungs" not in outcome.err


@pytest.mark.parametrize("device", ["cuda", "cuda:9"])
def test_a_device_that_is_absent_is_no_fallback(
    diagnose: Diagnose, tmp_path: Path, device: str
) -> None:
    # Without a driver torch sees no device; with one, CUDA_VISIBLE_DEVICES hides them all.
    outcome = diagnose("--device", device, CUDA_VISIBLE_DEVICES="")
    assert_refused(outcome, 4, f"device {device} is not there", "--device cpu")
    assert not (tmp_path / "out").exists()


def test_an_earlier_report_is_not_touched(diagnose: Diagnose, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("mine")
    assert_refused(diagnose(), 2, "already holds files", "--force")
    assert (tmp_path / "out" / "report.html").read_text() == "mine"
    assert diagnose("--force").code == 0
    assert (tmp_path / "out" / "report.html").read_text() != "mine"


def test_a_file_in_the_place_of_the_folder(diagnose: Diagnose, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert_refused(diagnose(), 2, "not a folder")
    assert (tmp_path / "out").read_text() == "mine"

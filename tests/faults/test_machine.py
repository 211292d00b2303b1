"""What the machine refuses: disks, folders, devices. Exit code 4, before computing if it can be."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from luna.run.folders import held_folder

from .conftest import Outcome, Strike, assert_refused

Run = Callable[..., Outcome]
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
    mount(folder, "size=64m,ro")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_no_half_report(diagnose: Diagnose, small_disk: Path) -> None:
    outcome = diagnose("--out", small_disk / "report")
    assert_refused(outcome, 4, "the disk is full", "report", "free some space (0.0 MiB are left)")
    left = [p.name for p in small_disk.rglob("*") if p.is_file()]
    assert "report.html" not in left
    assert not [name for name in left if name.startswith(".tmp")]


@pytest.fixture
def commands(
    good_scan: Path,
    good_weights: Path,
    small_cohort: Path,
    small_cache: Path,
    tmp_path: Path,
) -> Callable[[str, Path], list[object]]:
    """The words of a command that writes into a folder."""
    tables = {
        "marks.csv": "seriesuid,coordX,coordY,coordZ,probability\n1,1,2,3,0.9\n",
        "nodules.csv": "seriesuid,coordX,coordY,coordZ,diameter_mm\n1,1,2,4,8\n",
        "series.csv": "seriesuid\n1\n",
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text)

    def words(name: str, out: Path) -> list[object]:
        evaluate = ["evaluate", small_cohort, "--weights", good_weights]
        every: dict[str, list[object]] = {
            "diagnose": ["diagnose", good_scan, "--weights", good_weights, "--out", out],
            "prep": ["prep", small_cohort, "--workers", 1, "--cache", out],
            "train-cls": ["train-cls", small_cache, "--set", "split.stride=4", "--runs", out],
            "train-seg": ["train-seg", small_cache, "--set", "split.stride=4", "--runs", out],
            "evaluate": [*evaluate, "--out", out],
            "evaluate --calibrate": [*evaluate, "--out", tmp_path / "e", "--calibrate", out],
            "validate": [
                *("validate", good_weights, small_cohort, "--role", "nodule", "--out", out)
            ],
            "score": [
                *("score", "marks.csv", "--annotations", "nodules.csv"),
                *("--series", "series.csv", "--out", out),
            ],
            "phantom": ["phantom", out, "--scans", 1],
        }
        return every[name]

    return words


COMPUTE = ("diagnose", "train-cls", "train-seg", "evaluate", "validate")
WRITE = (*COMPUTE, "prep", "evaluate --calibrate", "score", "phantom")
WORK = ("lungs", "scan 1/", "epoch", "step", "made ", "candidates/s")
"""What commands say once they work."""


@pytest.mark.parametrize("name", WRITE)
def test_a_read_only_disk_is_found_before_computing(
    run_luna: Run, commands: Callable[..., list[object]], read_only_disk: Path, name: str
) -> None:
    outcome = run_luna(*commands(name, read_only_disk / "out"))
    assert_refused(outcome, 4, "disk/out", "choose another")
    assert not [word for word in WORK if word in outcome.err]


@pytest.mark.parametrize("device", ["cuda", "cuda:9"])
@pytest.mark.parametrize("name", COMPUTE)
def test_a_device_that_is_absent_is_no_fallback(
    run_luna: Run, commands: Callable[..., list[object]], tmp_path: Path, name: str, device: str
) -> None:
    # Without a driver torch sees no device; with one, CUDA_VISIBLE_DEVICES hides them all.
    words = commands(name, tmp_path / "out")
    outcome = run_luna(*words, "--device", device, CUDA_VISIBLE_DEVICES="")
    assert_refused(outcome, 4, f"device {device} is not there", "--device cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
)
def test_a_diagnosis_that_is_stopped_leaves_no_report(
    diagnose: Diagnose, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "out"
    outcome = diagnose(strike=Strike(number, out, 1, "files"))
    assert outcome.code == code, outcome
    assert "Traceback" not in outcome.err
    killed = number == signal.SIGKILL
    assert out.exists() == killed
    again = diagnose()
    assert again.code == 0
    assert ("taken over from a run that ended" in again.err) == killed
    assert sorted(path.name for path in out.iterdir())[0] == "detections.csv"
    assert json.loads((out / "report.json").read_text())


def test_a_second_diagnosis_into_the_same_folder_is_refused(
    diagnose: Diagnose, tmp_path: Path
) -> None:
    with held_folder(tmp_path / "out", force=False, warn=pytest.fail):
        for more in ((), ("--force",)):
            refused = diagnose(*more)
            assert_refused(refused, 2, "another run is writing into this folder", "choose another")
        (tmp_path / "out" / "mine").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_report_is_never_written_over_its_scan(
    diagnose: Diagnose, good_scan: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    scan = Path(shutil.move(good_scan, tmp_path / "out" / "report.mha"))
    before = scan.read_bytes()
    assert_refused(diagnose("--force", scan=scan), 2, "overwrite their own input")
    assert scan.read_bytes() == before


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

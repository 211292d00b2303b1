"""A folder for results is checked before computing, and held by one run at a time."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from luna.run import folders
from luna.run.errors import EnvironmentFault, UsageError
from luna.run.folders import LOCK, check_folder, contents, held_folder, keep_inputs

HOLDER = """
import sys, time
from pathlib import Path
from luna.run.folders import held_folder
with held_folder(Path(sys.argv[1]), force=True, warn=print):
    (Path(sys.argv[1]) / ".tmp-half-report.html").touch()
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def warned() -> list[str]:
    return []


def hold(out: Path, warned: list[str], *, force: bool = False):
    return held_folder(out, force=force, warn=warned.append)


def test_a_folder_is_made_held_and_kept(tmp_path: Path, warned: list[str]) -> None:
    out = tmp_path / "new" / "deep"
    with hold(out, warned):
        assert (out / LOCK).is_file()
        assert contents(out) == []
        (out / "file").touch()
    assert sorted(path.name for path in out.iterdir()) == ["file"]
    assert warned == []


def test_a_folder_that_stays_empty_goes_with_those_made_for_it(
    tmp_path: Path, warned: list[str]
) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="no scan"), hold(tmp_path / "mine" / "a" / "b", warned):
        raise ValueError("no scan")
    with hold(tmp_path / "mine", warned):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("check", ["held", "checked"])
def test_other_files_are_kept_without_force(tmp_path: Path, warned: list[str], check: str) -> None:
    def claim(out: Path, *, force: bool):
        if check == "held":
            return hold(out, warned, force=force)
        return nullcontext(check_folder(out, force=force))

    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="already holds files"), claim(tmp_path, force=False):
        pytest.fail("the block must not run")
    with pytest.raises(UsageError, match="not a folder"), claim(tmp_path / "file", force=True):
        pytest.fail("the block must not run")
    with claim(tmp_path, force=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_check_makes_nothing(tmp_path: Path) -> None:
    assert check_folder(tmp_path / "a" / "b", force=False) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_is_refused_while_the_first_lives(tmp_path: Path, warned: list[str]) -> None:
    with (
        hold(tmp_path, warned, force=True),
        pytest.raises(UsageError, match=f"another run is writing.*process {os.getpid()} on"),
        hold(tmp_path, warned, force=True),
    ):
        pytest.fail("the block must not run")
    with hold(tmp_path, warned, force=True):
        pass
    assert warned == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_dead_process_is_taken_over(
    tmp_path: Path, warned: list[str], number: int
) -> None:
    words = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {holder.pid}"), hold(tmp_path, warned):
            pytest.fail("the block must not run")
        holder.send_signal(number)
        holder.wait()
    with hold(tmp_path, warned):
        assert contents(tmp_path) == []
        assert not list(tmp_path.glob(".tmp-*"))
    assert [w.partition(": ")[2] for w in warned] == ["taken over from a run that ended early"]


def test_a_file_system_without_locks_is_reported(
    tmp_path: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(folders, "lock_file", refuse)
    with hold(tmp_path, warned):
        assert "a second run is not kept out" in warned[0]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    if os.geteuid() == 0:  # root may write anywhere: let the system call say no
        monkeypatch.setattr(os, "access", lambda *args: False)
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentFault, match="cannot write here"):
        check_folder(tmp_path / "out", force=False)
    with pytest.raises(EnvironmentFault, match="cannot write here"), hold(tmp_path / "o", warned):
        pytest.fail("the block must not run")


def test_an_input_is_never_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    scan = out / "nodules.nii.gz"
    (out / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(out)
    for path in (scan, out, out / "deep" / "a.mhd", tmp_path / "link" / "a.mhd"):
        with pytest.raises(UsageError, match="overwrite their own input"):
            keep_inputs(out, [path])
    keep_inputs(out, [tmp_path / "scan.mhd", tmp_path])
    with pytest.raises(UsageError, match="overwrite their own input"):
        keep_inputs(out, [scan], ["nodules.nii.gz"])
    keep_inputs(out, [scan], ["report.json"])

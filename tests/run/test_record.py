"""Files appear whole or not at all; a run record says what the run was."""

import errno
import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from luna import __version__
from luna.run import record
from luna.run.errors import EnvironmentFault, UsageError
from luna.run.record import claim_folder, git_commit, record_run, replace_file, write_record


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "report.json.gz"
    target.write_text("old")
    with replace_file(target) as path:
        assert path.parent == tmp_path
        assert path.name.endswith("report.json.gz")
        path.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["report.json.gz"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    half = {"a": 1, "b": object()}
    with pytest.raises(TypeError), replace_file(target) as path, path.open("w") as stream:
        json.dump(half, stream)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "message"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "cannot write here")]
)
def test_what_the_disk_says_becomes_a_fault(tmp_path: Path, number: int, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message), replace_file(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert names(tmp_path) == []


def test_a_missing_folder_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="absent"), replace_file(tmp_path / "absent" / "a"):
        pytest.fail("the block must not run")


def test_a_new_file_gets_the_usual_mode(tmp_path: Path) -> None:
    with replace_file(tmp_path / "a") as path:
        path.write_text("x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_folder_is_claimed(tmp_path: Path) -> None:
    claim_folder(tmp_path / "new" / "deep", force=False)
    assert names(tmp_path / "new" / "deep") == []
    claim_folder(tmp_path / "new" / "deep", force=False)
    (tmp_path / "new" / "deep" / "file").touch()
    with pytest.raises(UsageError, match="already holds files"):
        claim_folder(tmp_path / "new" / "deep", force=False)
    claim_folder(tmp_path / "new" / "deep", force=True)
    with pytest.raises(UsageError, match="not a folder"):
        claim_folder(tmp_path / "new" / "deep" / "file", force=True)


def test_a_dry_claim_makes_nothing(tmp_path: Path) -> None:
    claim_folder(tmp_path / "a" / "b", force=False, dry_run=True)
    assert names(tmp_path) == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_folder_that_cannot_be_written_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    if os.geteuid() == 0:  # root may write anywhere: let the system calls say no
        monkeypatch.setattr(os, "access", lambda *args: False)

        def refuse(**options: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(record.tempfile, "TemporaryFile", refuse)
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentFault, match="cannot write here"):
        claim_folder(tmp_path / "out", force=False, dry_run=dry_run)


def test_a_run_is_recorded(tmp_path: Path) -> None:
    entry = record_run(["luna", "train"], 'precision = "auto"\n', "cpu", seed=3)
    write_record(entry, tmp_path / "run.json")
    read = json.loads((tmp_path / "run.json").read_text())
    assert read == json.loads(json.dumps(asdict(entry)))
    assert read["versions"]["luna"] == __version__
    assert {"python", "torch", "numpy"} <= read["versions"].keys()
    assert (read["seed"], read["device"], read["command"]) == (3, "cpu", ["luna", "train"])
    assert read["started"].endswith("+00:00")


def test_a_path_that_is_no_text_is_recorded_as_it_was(tmp_path: Path) -> None:
    command = ["luna", os.fsdecode(b"r\xc3\xb6ntgen\xff")]
    write_record(record_run(command, "", "cpu"), tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text)["command"] == command
    assert "röntgen" in text


def test_the_commit_is_that_of_lunas_own_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True)

    source = tmp_path / "luna" / "record.py"
    source.parent.mkdir()
    source.touch()
    monkeypatch.setattr(record, "__file__", str(source))
    assert git_commit() is None
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "someone else's project")
    assert git_commit() is None
    git("add", ".")
    git("commit", "-q", "-m", "luna's")
    commit = git_commit()
    assert commit is not None
    assert len(commit) == 40
    source.write_text("x = 1\n")
    assert git_commit() == f"{commit}+changes"
    monkeypatch.setattr(record.shutil, "which", lambda name: None)
    assert git_commit() is None

"""A run record says what the run was."""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from luna import __version__
from luna.run import record
from luna.run.record import git_commit, record_run, write_record


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

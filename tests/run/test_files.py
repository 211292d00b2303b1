"""Files appear whole or not at all."""

import errno
import json
import os
from pathlib import Path

import pytest

from luna.run.errors import EnvironmentFault
from luna.run.files import replace_file


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

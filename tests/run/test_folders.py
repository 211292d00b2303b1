"""A folder that a command writes into is checked before any computing."""

import errno
import os
from pathlib import Path

import pytest

from luna.run import folders
from luna.run.errors import EnvironmentFault, UsageError
from luna.run.folders import claim_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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

        monkeypatch.setattr(folders.tempfile, "TemporaryFile", refuse)
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentFault, match="cannot write here"):
        claim_folder(tmp_path / "out", force=False, dry_run=dry_run)

"""The folder that a command writes into."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from luna.run.errors import UsageError
from luna.run.files import nearest_existing, write_fault


def claim_folder(out: Path, *, force: bool, dry_run: bool = False, option: str = "--out") -> None:
    """Make sure, before any computing, that results may and can be written into a folder.

    The folder is made when it is not there; a dry run only looks. `option` is what names it on
    the command line. Raises UsageError when it
    holds files and `force` is not set, or is no folder; EnvironmentFault when it cannot be
    written.
    """
    try:
        if out.exists() and not out.is_dir():
            raise UsageError("not a folder", file=out, hint=f"choose another {option} folder")
        if not force and out.exists() and any(out.iterdir()):
            raise UsageError(
                "this folder already holds files",
                file=out,
                hint=f"choose another {option} folder, or --force to write into this one",
            )
        if dry_run:
            _look_whether_writable(out)
            return
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise write_fault(out, error, option) from error


def _look_whether_writable(out: Path) -> None:
    nearest = nearest_existing(out)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))

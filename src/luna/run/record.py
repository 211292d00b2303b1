"""Files that appear whole or not at all, and the record of what a run was."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luna.run.errors import EnvironmentFault

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    The data is fsynced before the rename and the folder after it, so a crash leaves either
    the old file or the new one. When the block raises, the temporary file is removed and
    `path` is untouched. The temporary name ends in `path`'s own suffixes, for writers that
    choose a format by name. Raises EnvironmentFault when the disk is full or not writable.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=f"-{path.name}")
    except OSError as error:
        raise write_fault(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes 0600; what a user asked for gets the mode that open() would give it.
        temporary.chmod(0o666 & ~_umask())
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    except OSError as error:
        raise write_fault(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_fault(path: Path, error: OSError) -> EnvironmentFault:
    """The EnvironmentFault that tells a user why `path` could not be written."""
    if error.errno in DISK_FULL:
        return EnvironmentFault(
            "the disk is full", file=path, why=str(error), hint="free some space, then run again"
        )
    return EnvironmentFault(
        "cannot write here", file=path, why=str(error), hint="choose another --out folder"
    )


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

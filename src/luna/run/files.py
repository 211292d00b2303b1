"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from luna.run.errors import EnvironmentFault

MIB = 1 << 20

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

TEMPORARY = ".tmp-"
"""The first letters of a file's name while it is being written."""


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends well.

    The data is fsynced before the rename and the folder after it, so a crash leaves either
    the old file or the new one. When the block raises, the temporary file is removed and
    `path` is untouched. The temporary name ends in `path`'s own suffixes, for writers that
    choose a format by name. Raises EnvironmentFault when the disk is full or not writable.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=f"-{path.name}")
    except OSError as error:
        raise write_fault(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _fsync(temporary, os.O_RDWR)  # Windows writes out no file that is open for reading
        # mkstemp makes 0600; what a user asked for gets the mode that open() would give it.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        if sys.platform != "win32":  # which opens no folder
            _fsync(path.parent, os.O_RDONLY)
    except OSError as error:
        raise write_fault(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_plain(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a plain file.

    Raises OSError for a pipe, a device or a folder, which could be waited for or read for ever,
    and for a file of more than `most_bytes`.
    """
    # A pipe that nobody writes to would block an ordinary open.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a plain file")
        if status.st_size > most_bytes:
            raise OSError(f"{status.st_size} bytes, more than {most_bytes}")
        return stream.read(status.st_size)  # a bound, not a wish: it is allocated at once


if sys.platform == "win32":
    _one_reads = threading.Lock()

    def read_at(handle: int, length: int, offset: int) -> bytes:
        """Return bytes of an open file from an offset on; several threads may read at once."""
        with _one_reads:
            os.lseek(handle, offset, os.SEEK_SET)
            return os.read(handle, length)

else:
    read_at = os.pread


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a temporary folder that only the user can enter, removed afterwards.

    Raises EnvironmentFault when no temporary folder can be written.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="luna-")
    except OSError as error:
        raise EnvironmentFault(
            "no temporary folder can be made",
            why=str(error),
            hint="set TMPDIR to a folder that you can write to",
        ) from error
    with folder as name:
        yield Path(name)


def sweep(*folders: Path) -> None:
    """Remove the temporary files of a run that was killed; nothing else may be writing there."""
    for folder in folders:
        for path in folder.glob(f"{TEMPORARY}*"):
            path.unlink(missing_ok=True)


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files of these names, if they are there. Raises EnvironmentFault when it cannot."""
    for name in names:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise write_fault(folder / name, error) from error


def nearest_existing(path: Path) -> Path:
    """Return the path itself, or the first above it that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def is_text(name: str) -> bool:
    """Return whether a name fits UTF-8; a path may be bytes that do not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_fault(path: Path, error: OSError, option: str = "--out") -> EnvironmentFault:
    """Return the EnvironmentFault that explains why `path` could not be written."""
    if error.errno in DISK_FULL:
        left_mib = shutil.disk_usage(nearest_existing(path)).free / MIB
        return EnvironmentFault(
            "the disk is full",
            file=path,
            why=str(error),
            hint=f"free some space ({left_mib:.1f} MiB are left), then run again",
        )
    return EnvironmentFault(
        "cannot write here", file=path, why=str(error), hint=f"choose another {option} folder"
    )


def _fsync(path: Path, mode: int) -> None:
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""The folder that a command writes into: checked, held by one run at a time, and left tidy."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from luna.run.errors import UsageError
from luna.run.files import TEMPORARY, nearest_existing, sweep, write_fault
from luna.run.lock import lock_file

LOCK = ".luna-lock"
"""The file in a folder that the run which writes there keeps locked."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""The error codes of file systems without locks."""


@contextmanager
def held_folder(
    out: Path,
    *,
    force: bool,
    warn: Callable[[str], None],
    option: str = "--out",
    lock: str = LOCK,
) -> Iterator[None]:
    """Hold a folder for results while the block runs, so that no other run writes there.

    The folder is made when it is missing, and removed again when the block leaves it empty. A
    lock that a dead run left is taken over, with a warning. `option` names the folder on
    the command line. Runs that share a folder have each a `lock` of their own, which begins as
    the others do. Raises UsageError when the path is no folder, when it holds files and
    `force` is not set, or when another run holds it, and EnvironmentFault when it cannot be
    written.
    """
    existing = check_folder(out, force=force, option=option)
    try:
        with _locked(out, lock, warn, option):
            yield
    finally:
        _remove_empty(out, existing)


def check_folder(out: Path, *, force: bool, option: str = "--out") -> Path:
    """Raise what `held_folder` raises, but write nothing; the nearest folder that exists."""
    try:
        if out.exists() and not out.is_dir():
            raise UsageError("not a folder", file=out, hint=f"choose another {option} folder")
        if not force and contents(out):
            raise UsageError(
                "this folder already holds files",
                file=out,
                hint=f"choose another {option} folder, or --force to write into this one",
            )
        existing = nearest_existing(out)
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(existing))
    except OSError as error:
        raise write_fault(out, error, option) from error
    return existing


def keep_inputs(out: Path, inputs: Iterable[Path], names: Iterable[str] | None = None) -> None:
    """Raise UsageError when writing into `out` could replace an input.

    `names` are the files that are written there; without it, no input may lie in `out`.
    """
    folder = out.resolve()
    written = None if names is None else {folder, *((folder / name).resolve() for name in names)}
    for path in inputs:
        place = path.resolve()
        if place.is_relative_to(folder) if written is None else place in written:
            raise UsageError(
                "the results would overwrite their own input",
                file=path,
                hint="choose another --out folder",
            )


def contents(folder: Path) -> list[Path]:
    """Return what a folder holds besides the lock and the temporary files of a run."""
    return [p for p in folder.glob("*") if not p.name.startswith((LOCK, TEMPORARY))]


@contextmanager
def _locked(out: Path, name: str, warn: Callable[[str], None], option: str) -> Iterator[None]:
    """Keep the lock of a folder while the block runs."""
    lock = out / name
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = _open_locked(lock, warn, option)
    except OSError as error:
        raise write_fault(out, error, option) from error
    try:
        yield
    finally:
        # The name goes while the lock is held: whoever waits for this file finds it unnamed.
        with suppress(OSError):
            lock.unlink()
        os.close(handle)
        with suppress(OSError):  # Windows removes no open file
            lock.unlink()


def _open_locked(lock: Path, warn: Callable[[str], None], option: str) -> int:
    """Lock the lock file, write process and machine into it, and return its handle."""
    while True:
        stale = lock.exists()
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            lock_file(handle)
        except BlockingIOError as error:
            holder = os.read(handle, 200).decode(errors="replace").strip()
            os.close(handle)
            raise UsageError(
                "another run is writing into this folder",
                file=lock.parent,
                why=holder,
                hint=f"wait until it has ended, or choose another {option} folder",
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(handle)
                raise
            warn(f"{lock.parent}: this file system has no locks, so a second run is not kept out")
        if os.fstat(handle).st_nlink:
            break
        os.close(handle)  # its run ended and removed the file just now
    if stale:
        warn(f"{lock.parent}: taken over from a run that ended early")
        if lock.name == LOCK:  # nobody else writes here
            sweep(lock.parent)
    os.truncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
    return handle


def _remove_empty(out: Path, existing: Path) -> None:
    """Remove a folder that was made and stayed empty, and those above it that were made for it."""
    with suppress(OSError):
        for folder in (out, *out.parents):
            if folder == existing:
                break
            folder.rmdir()

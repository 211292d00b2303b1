"""A store of framed bytes by key: diskcache keeps the files and their index.

Nothing in it is trusted: a key is text, a value bytes, and whatever else a database may hold
(pickles, paths out of the folder) counts as absent and is never loaded. Nothing is evicted.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import DBNAME, MODE_BINARY

from luna.run.errors import EnvironmentFault, TrustError, UsageError
from luna.run.files import DISK_FULL
from luna.run.lock import lock_file

T = TypeVar("T")

SIZE_LIMIT = 1 << 62
"""The size at which diskcache would start to evict, if a policy were set; never reached."""

LOCK_WAIT_S = 60.0
LOCK_TRIES = 5
"""How long, and how often, to wait for a locked database. diskcache's own `retry` would wait
for ever, also for a database that can never be written."""

OWN_NAME = re.compile(re.escape(os.sep).join(("[0-9a-f]{2}", "[0-9a-f]{2}", r"[0-9a-f]{28}\.val")))
"""The file names that diskcache makes."""

ORPHAN_S = 24 * 3600.0
"""A file without an entry this old was left by a killed process; younger ones may be in
the making by another."""

LOCK = "cache.lock"
AGAIN = "run `luna prep` again"


class FramedDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Bytes in files of the cache's own folder only; docs/decisions.md says why each override."""

    def _write(self, full_path: str, pieces: Iterator[bytes], mode: str) -> int:
        """Write a value's file; one that cannot be finished, as on a full disk, is removed."""
        try:
            return int(super()._write(full_path, pieces, mode))
        except BaseException:
            Path(full_path).unlink(missing_ok=True)
            raise

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> Any:
        """Return the bytes, or the path of a value's file; nothing else is ever loaded.

        Raises OSError, which diskcache takes as absent, for pickles and paths of others.
        """
        path = Path(self._directory, filename) if _is_own(filename) else None
        # A device or a pipe in the place of a file could keep a reader for ever.
        if mode == MODE_BINARY and path is not None and path.is_file():
            return path if read else path.read_bytes()
        raise OSError("not a value of luna")

    def remove(self, file_path: Any) -> None:
        """Remove a value's file; a path that is not diskcache's own is not touched."""
        if _is_own(file_path):
            super().remove(file_path)


def _is_own(filename: Any) -> bool:
    return isinstance(filename, str) and OWN_NAME.fullmatch(filename) is not None


class Cache:
    """Framed bytes by key; several threads and processes may use one folder at once.

    With `create`, the folder is made (0700), and a damaged index is set aside and started again;
    `on_damage` is called with a sentence. Without it, a missing or damaged index is a TrustError.
    Raises EnvironmentFault when the disk is full or the folder cannot be written, UsageError when
    it holds something else.
    """

    def __init__(
        self,
        folder: Path,
        *,
        create: bool = False,
        on_damage: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.folder = folder
        place = str(folder.resolve())
        if os.path.expandvars(place) != place:
            raise UsageError(
                "the path has a $ that diskcache would replace",
                file=folder,
                hint="choose another --cache folder",
            )
        if not create and not (folder / DBNAME).is_file():
            raise TrustError("no prepared data here", file=folder, hint=f"{AGAIN} on the cohort")
        with self._mapped():
            if create:
                _claim(folder)
                self._store = self._opened(on_damage)
            else:
                self._store = _open(folder)

    def _opened(self, on_damage: Callable[[str], None]) -> diskcache.Cache:
        # One process at a time: the second must see the first one's new index, not put it aside.
        # A planted link is not followed, and what is there is not emptied.
        flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(self.folder / LOCK, flags, 0o600)) as lock:
            lock_file(lock.fileno(), wait=True)
            try:
                return _open(self.folder)
            except sqlite3.DatabaseError as error:
                if _is_passing(error):
                    raise
                aside = _put_aside(self.folder)
                on_damage(
                    f"the index of {self.folder} is damaged ({error}): luna keeps it as {aside} "
                    f"and makes everything again"
                )
            return _open(self.folder)

    def put(self, key: str, value: bytes) -> None:
        """Store a value, in place of an earlier one."""
        with self._mapped():
            # As a stream each value has a file, which readers open by path, written in one piece.
            _patiently(lambda: self._store.set(key, BytesIO(value), read=True))

    def get(self, key: str) -> bytes | None:
        """Return a value, or None when there is none."""
        with self._mapped():
            value = _patiently(lambda: self._store.get(key))
        return value if isinstance(value, bytes) else None

    def path(self, key: str) -> Path | None:
        """Return the file of a value, or None when there is none."""
        with self._mapped():
            value = _patiently(lambda: self._store.get(key, read=True))
        return value if isinstance(value, Path) else None

    def sweep(self) -> None:
        """Remove files that a killed process left without an entry."""
        with self._mapped():
            rows = self._store._sql("SELECT filename FROM Cache WHERE filename IS NOT NULL")
            known = {name for (name,) in rows}
            for path in self.folder.glob("??/??/*.val"):
                name = str(path.relative_to(self.folder))
                with suppress(FileNotFoundError):
                    if name not in known and time.time() - path.stat().st_mtime > ORPHAN_S:
                        path.unlink()

    def close(self) -> None:
        """Close this thread's connection."""
        self._store.close()

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Raise errors of the disk and the database as luna's own."""
        try:
            yield
        except diskcache.Timeout as error:
            raise EnvironmentFault(
                "the cache cannot be locked",
                file=self.folder,
                why="another process holds it, or it is read-only",
            ) from error
        except sqlite3.DatabaseError as error:
            if _is_passing(error):
                raise self._fault(str(error), full="full" in str(error)) from error
            raise TrustError(
                "the index of the cache is damaged", file=self.folder, why=str(error), hint=AGAIN
            ) from error
        except OSError as error:
            raise self._fault(str(error), full=error.errno in DISK_FULL) from error

    def _fault(self, why: str, *, full: bool) -> EnvironmentFault:
        if full:
            return EnvironmentFault(
                "the disk is full",
                file=self.folder,
                why=why,
                hint="free some space, then run again: finished scans are kept",
            )
        hint = "make it writable, or choose another --cache folder"
        return EnvironmentFault("the cache cannot be used", file=self.folder, why=why, hint=hint)


def _claim(folder: Path) -> None:
    """Make the folder, for its owner only. Raises UsageError when it holds other files."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not any((folder / name).exists() for name in (DBNAME, LOCK)) and any(folder.iterdir()):
        raise UsageError(
            "this folder already holds other files",
            file=folder,
            hint="choose another --cache folder; a new one is made",
        )
    folder.chmod(0o700)


def _open(folder: Path) -> diskcache.Cache:
    """Open the store. Raises sqlite3.DatabaseError when its index is damaged."""
    try:
        store = diskcache.Cache(
            str(folder.resolve()),
            timeout=LOCK_WAIT_S,
            disk=FramedDisk,
            eviction_policy="none",
            size_limit=SIZE_LIMIT,
            cull_limit=0,
            tag_index=0,
            statistics=0,
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise sqlite3.DatabaseError(f"a setting is not one of diskcache: {error}") from error
    try:
        ((verdict,),) = store._sql("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        store.close()
        raise
    return store


def _is_passing(error: Exception) -> bool:
    """Return whether the database is not damaged but locked, full or not to be opened."""
    words = ("locked", "full", "unable to open", "readonly", "disk I/O")
    return isinstance(error, sqlite3.OperationalError) and any(w in str(error) for w in words)


def _put_aside(folder: Path) -> str:
    """Rename the database and its journals, and return the new name of the database."""
    aside = f"{DBNAME}.damaged-{time.time_ns()}"
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            (folder / f"{DBNAME}{ending}").replace(folder / f"{aside}{ending}")
    return aside


def _patiently(ask: Callable[[], T]) -> T:
    for _ in range(LOCK_TRIES - 1):
        with suppress(diskcache.Timeout):
            return ask()
    return ask()

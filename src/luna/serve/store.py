"""The list of scans and their queue: one SQLite file, which survives whatever ends a process.

The server adds rows and takes wishes; one worker claims rows, one after the other, and says how
far it is. Each call opens the file for itself, so that threads and processes share nothing else.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from luna.run.errors import EnvironmentFault, LunaError, UsageError
from luna.serve.request import ScanRequest
from luna.serve.rows import Outcome, Row, Wish, row_of

SCHEMA = 2
MOST_ATTEMPTS = 2
"""A scan that ended its worker so often is not tried again: it would keep the others waiting."""

WAIT_S = 20.0
"""How long a call waits for another one that writes."""

TABLE = """
CREATE TABLE IF NOT EXISTS scans (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    received REAL NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    asked TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    wish TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    stage TEXT NOT NULL DEFAULT '',
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 1,
    stage_began REAL,
    ended REAL,
    error TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    patient TEXT NOT NULL DEFAULT '',
    name TEXT NOT NULL DEFAULT '',
    study_date TEXT NOT NULL DEFAULT '',
    entry TEXT NOT NULL DEFAULT 'null',
    seconds TEXT NOT NULL DEFAULT '{}',
    send TEXT NOT NULL DEFAULT '',
    send_note TEXT NOT NULL DEFAULT '',
    send_tries INTEGER NOT NULL DEFAULT 0,
    send_next REAL NOT NULL DEFAULT 0
)
"""


class UnknownScanError(UsageError):
    """No scan has this id, or it was deleted."""


class DamagedListError(LunaError):
    """The SQLite file is none, or of another version of luna."""

    exit_code = 3


class Store:
    """The list of scans in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._connected() as rows:
            version = rows.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                raise DamagedListError(
                    "the list of scans is of another version of luna",
                    file=path,
                    hint="choose another --data folder",
                )
            rows.execute("PRAGMA journal_mode = WAL")
            rows.execute(TABLE)
            rows.execute(f"PRAGMA user_version = {SCHEMA}")

    def add(
        self,
        scan: str,
        label: str,
        asked: ScanRequest,
        *,
        files: int,
        size: int,
        send: bool = False,
    ) -> Row:
        """Queue a scan with a complete upload on disk; `send` its results when they are there."""
        with self._open() as rows:
            rows.execute(
                "INSERT INTO scans (id, label, received, files, bytes, asked, send) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (scan, label, time.time(), files, size, asked.text(), "wanted" if send else ""),
            )
        return self.get(scan)

    def get(self, scan: str) -> Row:
        """Return the row of an id. Raises UnknownScanError."""
        with self._open() as rows:
            found = rows.execute(
                "SELECT * FROM scans WHERE id = ? AND wish != 'delete'", (scan,)
            ).fetchone()
        if found is None:
            raise UnknownScanError("no such scan", hint="it may have been deleted")
        return row_of(found)

    def find(self, search: str = "", *, most: int = 100) -> list[Row]:
        """Return the scans in which a text occurs, the newest first."""
        pattern = "%" + "".join(f"\\{c}" if c in "\\%_" else c for c in search) + "%"
        columns = ("id", "label", "state", "name", "study_date", "entry", "error")
        where = " OR ".join(f"{column} LIKE :text ESCAPE '\\'" for column in columns)
        return self._select(f"wish != 'delete' AND ({where}) ORDER BY number DESC LIMIT :most",
                            {"text": pattern, "most": most})  # fmt: skip

    def waiting(self) -> list[Row]:
        """Return the running and the queued scans, in the order of the queue."""
        return self._select(
            "state IN ('running', 'queued') AND wish != 'delete' ORDER BY state = 'queued', number"
        )

    def lately_done(self, most: int = 5) -> list[Row]:
        """Return the scans that were looked at last, the newest first."""
        return self._select("state = 'done' ORDER BY ended DESC LIMIT ?", (most,))

    def to_send(self, now: float) -> list[Row]:
        """Return the scans whose results are to be sent, and whose turn it is."""
        return self._select(
            "send = 'wanted' AND state = 'done' AND send_next <= ? AND wish = '' ORDER BY number",
            (now,),
        )

    def sent(self, scan: str, peer: str) -> None:
        """Note where the results of a scan went."""
        with self._open() as rows:
            rows.execute("UPDATE scans SET send = 'sent', send_note = ? WHERE id = ?", (peer, scan))

    def not_sent(self, scan: str, why: str, again: float) -> None:
        """Note why the results of a scan were not taken, and when they are sent again."""
        with self._open() as rows:
            rows.execute(
                "UPDATE scans SET send_note = ?, send_tries = send_tries + 1, send_next = ? "
                "WHERE id = ?",
                (why, again, scan),
            )

    def ids(self) -> set[str]:
        """Return the id of every row."""
        with self._open() as rows:
            return {one["id"] for one in rows.execute("SELECT id FROM scans")}

    def claim(self) -> Row | None:
        """Give the worker the next scan of the queue, if there is one."""
        with self._open() as rows:
            found = rows.execute(
                "UPDATE scans SET state = 'running', attempts = attempts + 1, stage = '', "
                "done = 0, total = 1, stage_began = ? WHERE number = "
                "(SELECT number FROM scans WHERE state = 'queued' ORDER BY number LIMIT 1) "
                "RETURNING *",
                (time.time(),),
            ).fetchall()
        return row_of(found[0]) if found else None

    def step(self, scan: str, stage: str, done: int, total: int, began: float) -> Wish:
        """Record the progress of a running scan; return what was requested for it meanwhile."""
        with self._open() as rows:
            found = rows.execute(
                "UPDATE scans SET stage = ?, done = ?, total = ?, stage_began = ? WHERE id = ? "
                "RETURNING wish",
                (stage, done, total, began, scan),
            ).fetchall()
        return cast("Wish", found[0]["wish"]) if found else "delete"

    def finish(self, scan: str, outcome: Outcome) -> None:
        """Write down what became of a running scan."""
        with self._open() as rows:
            rows.execute(
                "UPDATE scans SET state = ?, error = ?, hint = ?, patient = ?, name = ?, "
                "study_date = ?, entry = ?, seconds = ?, ended = ?, wish = "
                "CASE wish WHEN 'delete' THEN 'delete' ELSE '' END WHERE id = ?",
                (
                    *(outcome.state, outcome.error, outcome.hint, outcome.patient, outcome.name),
                    *(outcome.study_date, json.dumps(outcome.entry)),
                    *(json.dumps(outcome.seconds or {}), time.time(), scan),
                ),
            )

    def cancel(self, scan: str) -> Row:
        """Take a scan out of the queue, or ask the worker to leave it. Others stay as they are."""
        with self._open() as rows:
            rows.execute(
                "UPDATE scans SET ended = ?, state = 'cancelled' WHERE id = ? AND state = 'queued'",
                (time.time(), scan),
            )
            rows.execute(
                "UPDATE scans SET wish = 'cancel' WHERE id = ? AND state = 'running' AND wish = ''",
                (scan,),
            )
        return self.get(scan)

    def delete(self, scan: str) -> bool:
        """Drop a row, and return whether it is gone; one that is running goes with its worker."""
        with self._open() as rows:
            rows.execute(
                "UPDATE scans SET wish = 'delete' WHERE id = ? AND state = 'running'", (scan,)
            )
            gone = rows.execute("DELETE FROM scans WHERE id = ? AND state != 'running'", (scan,))
            return bool(gone.rowcount)

    def drop_deleted(self, scan: str) -> bool:
        """Drop the row of a scan that was deleted while it was running, if it was."""
        with self._open() as rows:
            gone = rows.execute("DELETE FROM scans WHERE id = ? AND wish = 'delete'", (scan,))
            return bool(gone.rowcount)

    def recover(self, *, counted: bool = True) -> None:
        """Queue again what a worker left behind that has ended.

        A scan that did so MOST_ATTEMPTS times has failed. An attempt that was ended on purpose
        is not `counted`.
        """
        with self._open() as rows:
            rows.execute("DELETE FROM scans WHERE wish = 'delete'")
            rows.execute(
                "UPDATE scans SET state = 'cancelled', wish = '', ended = ? "
                "WHERE state = 'running' AND wish = 'cancel'",
                (time.time(),),
            )
            rows.execute(
                "UPDATE scans SET attempts = attempts - ? WHERE state = 'running'",
                (0 if counted else 1,),
            )
            rows.execute(
                "UPDATE scans SET state = 'failed', ended = ?, error = ?, hint = ? "
                "WHERE state = 'running' AND attempts >= ?",
                (
                    time.time(),
                    "luna was ended while it looked at this scan, more than once",
                    "the system does that when memory runs out; `luna diagnose` of the scan "
                    "may tell more",
                    MOST_ATTEMPTS,
                ),
            )
            rows.execute("UPDATE scans SET state = 'queued', stage = '' WHERE state = 'running'")

    def _select(self, where: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Return the scans of a condition, which is written here and holds nothing from outside."""
        with self._open() as rows:
            found = rows.execute(f"SELECT * FROM scans WHERE {where}", values)  # noqa: S608
            return [row_of(one) for one in found]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection whose changes are kept together when the block ends well."""
        with self._connected() as rows:
            rows.execute("BEGIN IMMEDIATE")
            yield rows
            rows.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection; what is not committed when it closes is undone."""
        try:
            rows = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
        except sqlite3.Error as error:
            raise _fault(self.path, error) from error
        try:
            rows.row_factory = sqlite3.Row
            rows.execute("PRAGMA synchronous = FULL")  # a queued scan outlives a power cut
            yield rows
        except sqlite3.Error as error:
            raise _fault(self.path, error) from error
        finally:
            rows.close()


def _fault(path: Path, error: sqlite3.Error) -> LunaError:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return EnvironmentFault(
            "the disk is full", file=path, why=str(error), hint="free some space, then try again"
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return DamagedListError(
            "the list of scans is damaged",
            file=path,
            why=str(error),
            hint="restore it from a copy, or choose another --data folder",
        )
    return EnvironmentFault("the list of scans cannot be used", file=path, why=str(error))

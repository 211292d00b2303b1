"""A scan as the list has it, and what became of it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any, Literal

from luna.serve.request import ScanRequest, request_from

State = Literal["queued", "running", "done", "failed", "cancelled"]
Wish = Literal["", "cancel", "delete"]
Sending = Literal["", "wanted", "sent"]
"""Whether the results go back to the network: of what came from there they are wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One scan of the list. `entry` is what the report found, `seconds` its stages took.

    `patient` tells patients apart and names nobody; `name` and `study_date` are kept only where
    the user asks for names. `send_note` says where results went, or why they could not.
    """

    number: int
    id: str
    label: str
    received: float
    files: int
    bytes: int
    asked: ScanRequest
    state: State
    wish: Wish
    attempts: int
    stage: str
    done: int
    total: int
    stage_began: float | None
    ended: float | None
    error: str
    hint: str
    patient: str
    name: str
    study_date: str
    entry: dict[str, Any] | None
    seconds: dict[str, float]
    send: Sending
    send_note: str
    send_tries: int
    send_next: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a scan, as the worker says."""

    state: State
    error: str = ""
    hint: str = ""
    patient: str = ""
    name: str = ""
    study_date: str = ""
    entry: dict[str, Any] | None = None
    seconds: dict[str, float] | None = None


def row_of(found: sqlite3.Row) -> Row:
    """Return a row of the table as values."""
    values = dict(found)
    values["asked"] = request_from(values["asked"])
    values["entry"] = json.loads(values["entry"])
    values["seconds"] = json.loads(values["seconds"])
    return Row(**values)

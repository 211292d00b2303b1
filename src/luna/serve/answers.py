"""What the API answers: plain values, which `/openapi.json` describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from luna.serve.request import ScanRequest
from luna.serve.rows import Row, Sending, State


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanAnswer:
    """A scan of the list. `result` is there when it is done, `error` when it failed.

    `place` in the queue is 0 for the scan that is being looked at. `seconds_left` is an estimate
    from earlier scans, and null before there is one. `result` is as in `summary.json` of
    `luna diagnose`. `patient_name` and `study_date` are there only with --include-phi.
    `sending` tells whether the results go to the network, `sending_note` where, or why not yet.
    """

    id: str
    label: str
    received: str
    files: int
    bytes: int
    state: State
    stopping: bool
    place: int | None
    stage: str
    done: int
    total: int
    seconds_left: float | None
    ended: str | None
    error: str
    hint: str
    asked: ScanRequest
    result: dict[str, Any] | None
    patient_name: str
    study_date: str
    report: str | None
    sending: Sending
    sending_note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ListAnswer:
    """Scans, the newest first, and how many wait or are being looked at."""

    scans: list[ScanAnswer]
    waiting: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesAnswer:
    """The names of a report's files; each is at `files/NAME`."""

    files: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthAnswer:
    """That the server answers, and whether its worker lives and a token is needed."""

    status: str
    worker: bool
    token: bool
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorAnswer:
    """What went wrong, and what to do."""

    error: str
    hint: str


def scan_answer(row: Row, place: int | None, seconds_left: float | None) -> ScanAnswer:
    """Return a row as the API tells it."""
    return ScanAnswer(
        id=row.id,
        label=row.label,
        received=_time(row.received) or "",
        files=row.files,
        bytes=row.bytes,
        state=row.state,
        stopping=row.wish == "cancel",
        place=place,
        stage=row.stage if row.state == "running" else "",
        done=row.done,
        total=row.total,
        seconds_left=None if seconds_left is None else round(seconds_left, 1),
        ended=_time(row.ended),
        error=row.error,
        hint=row.hint,
        asked=row.asked,
        result=row.entry,
        patient_name=row.name,
        study_date=row.study_date,
        report=f"/scans/{row.id}/report" if row.state == "done" else None,
        sending=row.send,
        sending_note=row.send_note,
    )


def answers_of(rows: list[Row], ends: Mapping[str, float | None]) -> list[ScanAnswer]:
    """Return rows as the API tells them; `ends` are those of the queue, in its order."""
    places = {scan: place for place, scan in enumerate(ends)}
    return [scan_answer(row, places.get(row.id), ends.get(row.id)) for row in rows]


def _time(seconds: float | None) -> str | None:
    return (
        None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat("T", "seconds")
    )

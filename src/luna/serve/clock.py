"""The time that scans will still take, from what the last ones took on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from luna.serve.rows import Row

STAGES = (
    *("unpack", "read", "align", "lungs", "segment", "group", "classify", "measure", "opacities"),
    *("prior lungs", "prior segment", "prior group", "prior classify", "prior measure"),
    *("prior opacities", "compare", "report"),
)
"""The order in which a scan goes through them; those of a prior only where there is one."""


def typical_seconds(rows: Sequence[Row]) -> dict[str, float]:
    """Return the mean seconds of each stage; empty before the first scan is done."""
    seen: dict[str, list[float]] = {}
    for row in rows:
        for stage, seconds in row.seconds.items():
            seen.setdefault(stage, []).append(seconds)
    return {stage: sum(seconds) / len(seconds) for stage, seconds in seen.items()}


def seconds_left(row: Row, typical: Mapping[str, float], now: float) -> float | None:
    """Return the time that a scan needs from now on; None where nobody knows."""
    needed = {s: t for s, t in typical.items() if row.asked.prior or not _of_prior(s)}
    if not needed:
        return None
    if row.state == "queued" or row.stage not in STAGES:
        return sum(needed.values())
    later = STAGES[STAGES.index(row.stage) + 1 :]
    return _rest_of_stage(row, needed, now) + sum(needed.get(stage, 0.0) for stage in later)


def queue_seconds(
    waiting: Sequence[Row], typical: Mapping[str, float], now: float
) -> dict[str, float | None]:
    """Return when each scan of the queue will be done, in seconds from now."""
    ends: dict[str, float | None] = {}
    before: float | None = 0.0
    for row in waiting:
        own = seconds_left(row, typical, now)
        before = None if before is None or own is None else before + own
        ends[row.id] = before
    return ends


def _rest_of_stage(row: Row, needed: Mapping[str, float], now: float) -> float:
    """Estimate by the finished steps if the stage counts them, else by its usual time."""
    gone = 0.0 if row.stage_began is None else max(now - row.stage_began, 0.0)
    if 0 < row.done < row.total:
        return gone * (row.total - row.done) / row.done
    return max(needed.get(row.stage, 0.0) - gone, 0.0)


def _of_prior(stage: str) -> bool:
    return stage.startswith("prior ") or stage in ("align", "compare")

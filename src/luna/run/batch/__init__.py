"""Do the same work for many items; keep what is done, and go on past a bad item."""

from luna.run.batch.engines import Engine, LocalProcesses, OneAhead, ThisProcess, engine_for
from luna.run.batch.outcome import Done, Failed, Outcome, item_at_fault, reason_of, resumed
from luna.run.batch.run import Batch, run_batch
from luna.run.batch.shard import Shard

__all__ = [
    "Batch",
    "Done",
    "Engine",
    "Failed",
    "LocalProcesses",
    "OneAhead",
    "Outcome",
    "Shard",
    "ThisProcess",
    "engine_for",
    "item_at_fault",
    "reason_of",
    "resumed",
    "run_batch",
]

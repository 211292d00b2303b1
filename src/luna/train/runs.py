"""The folder of a run: its record, its state, its results.

runs/<task>-<time>-<name>/
    config.toml     the resolved config
    record.json     versions, commit, seed, device, command
    losses.csv      step, rate and loss of every step
    metrics.jsonl   metrics of every epoch
    checkpoints/    last, previous, best
    events/         for TensorBoard
    bundle/         the best network, for `luna diagnose --weights`
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from luna.nets.bundle import Bundle, save_bundle
from luna.nets.card import Card
from luna.run.errors import DivergedError, TrustError, naming
from luna.run.files import read_plain, replace_file, sweep, write_fault
from luna.run.progress import SILENT, Listener
from luna.train.board.events import Board
from luna.train.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    Checkpoint,
    keep_last,
    pack_optimizer,
    read_newest,
    under_prefix,
    unpack_optimizer,
    with_prefix,
    write_checkpoint,
)
from luna.train.metrics import FloatArray, Metrics
from luna.train.ranks import Ranks

CONFIG, RECORD = "config.toml", "record.json"
CHECKPOINTS = "checkpoints"
LOSSES, METRICS = "losses.csv", "metrics.jsonl"
SHOWN = ("loss/all", "auc", "precision", "recall", "f1", "dice")
LOSSES_HEADER = "step,learning_rate,loss\n"
TABLE_BYTES_MAX = 1 << 30


@dataclass(slots=True)
class State:
    """What changes during a run; `step` counts the finished steps of the epoch under way.

    `earlier` (N, K) float64 are the epoch's rows of all ranks up to the last `collect`,
    `best` the metrics of the best validation.
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    earlier: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    recent: list[torch.Tensor] = field(default_factory=list)
    best: Metrics = field(default_factory=dict)

    def add(self, rows: torch.Tensor) -> None:
        """Count a finished step of this rank."""
        self.recent.append(rows)
        self.step += 1

    def collect(self, ranks: Ranks) -> None:
        """Join the rows of all ranks since the last time."""
        if not self.recent:
            return
        rows = ranks.gather(torch.cat(self.recent)).cpu().numpy()
        self.earlier = np.concatenate([self.earlier, rows]) if self.earlier.size else rows
        self.recent.clear()

    def finish_epoch(self) -> None:
        """Move on to the beginning of the next epoch."""
        self.epoch, self.step, self.earlier = self.epoch + 1, 0, np.zeros((0, 0))

    def pack(self) -> Checkpoint:
        """Return all of it as a checkpoint."""
        optimizer = pack_optimizer(self.optimizer)
        tensors = with_prefix("net", self.net.state_dict())
        tensors |= with_prefix("optimizer", optimizer.tensors)
        tensors["rows"] = torch.from_numpy(self.earlier)
        values = {"epoch": self.epoch, "step": self.step, "best": self.best}
        return Checkpoint(tensors, values | {"optimizer": optimizer.values})

    def unpack(self, checkpoint: Checkpoint) -> None:
        """Restore the state of a checkpoint. Raises TrustError when it is of another network."""
        tensors, values = checkpoint.tensors, checkpoint.values
        try:
            self.net.load_state_dict(under_prefix("net", tensors))
            packed = Checkpoint(under_prefix("optimizer", tensors), values["optimizer"])
            unpack_optimizer(self.optimizer, packed)
            self.epoch, self.step = _count(values["epoch"]), _count(values["step"])
            self.best = {str(name): float(value) for name, value in values["best"].items()}
            self.earlier = tensors["rows"].double().numpy()
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise TrustError("the checkpoint belongs to another network", why=str(error)) from error

    def refuse_elsewhere(self, epochs: int, steps: int, columns: int) -> None:
        """Raise TrustError unless the state stands within a run of so many epochs and steps.

        `columns` are those of the rows of finished steps.
        """
        within = (self.epoch < epochs and self.step < steps) or (self.epoch, self.step) == (
            epochs,
            0,
        )
        begun = self.step > 0
        fits = self.earlier.ndim == 2 and self.earlier.shape[1:] == (columns,) and len(self.earlier)
        if not within or bool(fits) != begun or (not begun and self.earlier.size):
            raise TrustError(
                "the checkpoint does not fit its run",
                why=f"epoch {self.epoch} of {epochs}, step {self.step} of {steps}, "
                f"rows {self.earlier.shape}",
            )


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r:.40} is not a count")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run's folder, and the card that its best network gets.

    `settings` are the values under which TensorBoard lists the run.
    """

    folder: Path
    card: Card
    settings: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    board: Board | None = None
    listener: Listener = SILENT

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / CHECKPOINTS

    def restore(
        self, state: State, ranks: Ranks, *, epochs: int, steps: int, columns: int
    ) -> State:
        """Return the state, moved to where the run's newest good checkpoint stands, if any.

        `steps` is the length of an epoch, `columns` that of a sample's row. Lines of losses and
        metrics that came after that checkpoint are dropped, and so is a damaged one.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        path = last_checkpoint(self.folder)
        if path is not None:
            checkpoint, path = read_newest(self.checkpoints)
            if path.name != LAST:
                self.listener.warn(f"the last checkpoint is damaged: continuing from {path}")
            with naming(path):
                state.unpack(checkpoint)
                state.refuse_elsewhere(epochs, steps, columns)
        ranks.wait()
        if ranks.leads:
            if path is not None and path.name != LAST:
                # The next save would make it the previous one, in the place of the good one.
                (self.checkpoints / LAST).unlink(missing_ok=True)
            sweep(self.folder, self.checkpoints)
            done = state.epoch * steps + state.step
            self._truncate(done, state.epoch)
            if self.board is not None and done:
                self.board.rewind(done)
        return state

    def _truncate(self, steps: int, epochs: int) -> None:
        """Drop later steps and epochs from the tables: they will come again.

        Warns when earlier lines are missing: the table was removed or cut since.
        """
        for name, what, head, count in (
            (LOSSES, "steps", 1, steps),
            (METRICS, "epochs", 0, epochs),
        ):
            path = self.folder / name
            # The last line of a table that was cut may be half of one.
            lines = [line for line in _lines(path) if line.endswith("\n")] if path.exists() else []
            missing = min(count, head + count - len(lines))
            if missing > 0:
                self.listener.warn(
                    f"{path} lacks {missing} of the {count} {what} that are done; the run "
                    f"continues from its checkpoint"
                )
            if path.exists():
                with replace_file(path) as temporary:
                    temporary.write_text("".join(lines[: head + count]), encoding="utf-8")

    def log_step(self, step: int, rate: float, loss: float, speed: Metrics) -> None:
        """Log a step: a line in losses.csv, in full precision, and points on the board."""
        _append(self.folder / LOSSES, f"{step},{rate!r},{loss!r}\n", head=LOSSES_HEADER)
        if self.board is not None:
            self.board.step(step, {"learning_rate": rate, "loss": loss, **speed})

    def save(self, state: State) -> None:
        """Save the state as the newest checkpoint."""
        keep_last(state.pack(), self.checkpoints)

    def keep(self, state: State, metrics: Mapping[str, Metrics], best_by: str) -> None:
        """Write down a finished epoch, and its network too when it is the best so far."""
        known = {part: _without_nan(values) for part, values in metrics.items()}
        _append(self.folder / METRICS, json.dumps({"epoch": state.epoch, **known}) + "\n")
        self.listener.note(_line(state.epoch, metrics))
        if self.board is not None:
            self.board.epoch(state.epoch, metrics)
        found = metrics.get("validation", {})
        if found and _is_better(found[best_by], state.best.get(best_by, math.nan)):
            state.best = dict(found)
            write_checkpoint(state.pack(), self.checkpoints / BEST)
            self._export(state)
        self.save(state)

    def _export(self, state: State) -> None:
        metrics = {"epoch": state.epoch, **_without_nan(state.best)}
        card = replace(self.card, metrics={k: v for k, v in metrics.items() if v is not None})
        save_bundle(Bundle(card, state.net), self.folder / "bundle")


def _lines(path: Path) -> list[str]:
    """Return the lines of a table. Raises TrustError when it is no text."""
    try:
        return read_plain(path, TABLE_BYTES_MAX).decode().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise TrustError(
            "this table of the run cannot be read",
            file=path,
            why=str(error),
            hint="remove the file: only its earlier lines are lost",
        ) from error


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint in a run's folder, if there is one."""
    paths = (folder / CHECKPOINTS / name for name in (LAST, PREVIOUS))
    return next((path for path in paths if path.exists()), None)


def diverged(step: int, folder: Path) -> DivergedError:
    """Return the error of a run in this folder whose loss is not finite at a step."""
    last = last_checkpoint(folder)
    return DivergedError(
        f"the loss of step {step} is not finite",
        file=last,
        why="the file is the last checkpoint with finite numbers" if last else "no checkpoint yet",
        hint="lower learning_rate, or raise warmup, with --set",
    )


def _append(path: Path, line: str, head: str = "") -> None:
    """Append a line to a table, after its header when it is the first."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line if file.tell() else head + line)
    except OSError as error:
        raise write_fault(path, error, "--runs") from error


def _is_better(found: float, best: float) -> bool:
    """Whether a metric is higher; NaN is only better than nothing."""
    return math.isnan(best) or found > best


def _without_nan(values: Metrics) -> dict[str, float | None]:
    """Return the metrics with None for NaN, which JSON lacks."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _line(epoch: int, metrics: Mapping[str, Metrics]) -> str:
    """Return an epoch as one line for the terminal."""
    parts = [
        f"{part} " + "  ".join(f"{k} {values[k]:.4f}" for k in SHOWN if k in values)
        for part, values in metrics.items()
    ]
    return f"epoch {epoch}: " + " | ".join(parts)

"""Write a run for TensorBoard.

Training and validation are two folders with common names, so that their curves overlay.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch.utils.tensorboard import FileWriter, RecordWriter, SummaryWriter
from torch.utils.tensorboard.summary import hparams

from luna.run.figures import Figure
from luna.run.files import write_fault
from luna.train.board.pictures import roc_figure
from luna.train.metrics import FloatArray, Metrics
from luna.train.tasks import Task

STEPS_BETWEEN_POINTS = 10


class _EventFile(FileWriter):
    """A new event file in a folder; an event is on the disk when `add_event` returns.

    torch's own leaves the writing to a thread, whose errors come late, without a file, or never.
    """

    def __init__(self, folder: Path) -> None:
        # TensorBoard reads the files of a folder in the order of their names.
        self._path = folder / f"events.out.tfevents.{time.time_ns()}"
        self.add_event(Event(file_version="brain.Event:2"))

    def add_event(
        self, event: Event, step: int | None = None, walltime: float | None = None
    ) -> None:
        """Write an event; raises EnvironmentFault when the disk is full or not writable."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as stream:
                RecordWriter(stream).write(event.SerializeToString())
        except OSError as error:
            raise write_fault(self._path, error, "--runs") from error


class _Writer(SummaryWriter):
    """torch's makers of summaries, with an event file of ours."""

    def __init__(self, folder: Path) -> None:
        self._events = _EventFile(folder)
        super().__init__(str(folder))

    def _get_file_writer(self) -> _EventFile:
        return self._events


class Board:
    """Writers of one run's event files.

    Steps count training steps under `step/…`; everything else counts epochs. Every method
    raises EnvironmentFault when the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._writers = {part: _Writer(folder / part) for part in ("train", "validation")}

    def rewind(self, step: int) -> None:
        """Discard earlier points of this step and later ones, because they come again.

        Epochs have smaller numbers than steps, and are not written before they are saved.
        """
        start = SessionLog(status=SessionLog.START)
        for writer in self._writers.values():
            writer._get_file_writer().add_event(Event(step=step, session_log=start), step)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point of rate, loss and speed every few steps."""
        if step % STEPS_BETWEEN_POINTS == 0:
            for name, value in values.items():
                self._scalar("train", f"step/{name}", value, step)

    def epoch(self, epoch: int, metrics: Mapping[str, Metrics]) -> None:
        """Add the metrics of an epoch: `train` and perhaps `validation`."""
        for part, values in metrics.items():
            for name, value in values.items():
                self._scalar(part, name, value, epoch)

    def judged(self, epoch: int, rows: FloatArray, picture: Figure, task: Task) -> None:
        """Add a validation: its picture, and curves where the rows hold probabilities."""
        self._writers["validation"].add_figure("samples", picture, epoch)
        if task.role != "segmentation":
            self._curves(epoch, rows)

    def settings(self, values: Mapping[str, bool | int | float | str], best: Metrics) -> None:
        """Add the hyper-parameters and the metrics of the best validation."""
        finite = {name: value for name, value in best.items() if np.isfinite(value)}
        # add_hparams() of the writer would open a run of its own for every call.
        writer = self._writers["validation"]._get_file_writer()
        for summary in hparams(dict(values), finite):  # type: ignore[no-untyped-call]
            writer.add_summary(summary)

    def _curves(self, epoch: int, rows: FloatArray) -> None:
        writer, p, truth = self._writers["validation"], rows[:, 1], rows[:, 2] > 0
        writer.add_pr_curve("pr", truth, p, epoch)
        writer.add_figure("roc", roc_figure(p, truth), epoch)
        for name, scores in (("positive", p[truth]), ("negative", p[~truth])):
            if scores.size:
                writer.add_histogram(f"p/{name}", scores, epoch)

    def _scalar(self, part: str, name: str, value: float, at: int) -> None:
        # A NaN point, such as the precision of no calls, would only be a gap with a warning.
        if np.isfinite(value):
            self._writers[part].add_scalar(name, value, at)

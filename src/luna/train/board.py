"""What TensorBoard shows of a run.

Training and validation are two folders with common names, so that their curves overlay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from luna.train.metrics import FloatArray, Metrics

STEPS_BETWEEN_POINTS = 10


class Board:
    """Writers of one run's event files; a context manager that closes them.

    Steps count training steps under `step/…`; everything else counts epochs.
    """

    def __init__(self, folder: Path) -> None:
        self._writers = {
            part: SummaryWriter(str(folder / part)) for part in ("train", "validation")
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Rate, loss, speed: a point every few steps."""
        if step % STEPS_BETWEEN_POINTS == 0:
            for name, value in values.items():
                self._scalar("train", f"step/{name}", value, step)

    def epoch(self, epoch: int, metrics: Mapping[str, Metrics]) -> None:
        """Metrics of the parts, `train` and perhaps `validation`."""
        for part, values in metrics.items():
            for name, value in values.items():
                self._scalar(part, name, value, epoch)

    def curves(self, epoch: int, rows: FloatArray) -> None:
        """ROC and precision-recall curve, and the scores of each class, from `class_rows`."""
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


def roc_figure(p: FloatArray, truth: NDArray[np.bool_]) -> Figure:
    """The ROC curve with equal axes."""
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(truth[order]) / max(int(truth.sum()), 1)
    false = np.cumsum(~truth[order]) / max(int((~truth).sum()), 1)
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(3, 3), layout="constrained")
        axes = figure.add_subplot(aspect="equal", xlabel="false positives", ylabel="sensitivity")
        axes.plot([0, *false], [0, *hits])
    return figure

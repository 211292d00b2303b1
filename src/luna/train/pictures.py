"""Figures for TensorBoard: curves, candidates and slices as the network judged them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from luna.train.metrics import FloatArray

Sample = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""HU (C, …) float32, label () or mask (1, H, W), logits (2,) or (1, H, W); on the CPU."""

LUNG_WINDOW_HU = (-1000, 400)
HIT, MISS, FALSE_MARK = (0.0, 0.62, 0.45), (0.8, 0.1, 0.6), (0.9, 0.6, 0.0)
"""Told apart by the colour-blind too (Okabe and Ito 2008, and a magenta)."""
OUTCOMES = {(True, True): HIT, (True, False): MISS, (False, True): FALSE_MARK}
"""Colours by truth and call."""
OPACITY = 0.55
COLUMNS = 4


def roc_figure(p: FloatArray, truth: NDArray[np.bool_]) -> Figure:
    """The ROC curve with equal axes."""
    order = np.argsort(-p, kind="stable")
    # Between equal scores no threshold can stand.
    ends = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    hits = np.cumsum(truth[order])[ends] / max(int(truth.sum()), 1)
    false = np.cumsum(~truth[order])[ends] / max(int((~truth).sum()), 1)
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(3, 3), layout="constrained")
        axes = figure.add_subplot(aspect="equal", xlabel="false positives", ylabel="sensitivity")
        axes.plot([0, *false], [0, *hits])
    return figure


def candidates_figure(samples: Sequence[Sample], threshold: float) -> Figure:
    """The middle slice of each candidate, with its label and probability.

    What is called yes from the threshold is coloured as in `slices_figure`.
    """
    figure, panels = _panels(len(samples))
    for axes, (hu, label, logits) in zip(panels, samples, strict=True):
        _show(axes, hu[0, hu.shape[1] // 2])
        p = float(logits.softmax(0)[1])
        colour = OUTCOMES.get((bool(label), p >= threshold), "black")
        axes.set_title(f"{'yes' if int(label) else 'no'}, p = {p:.3f}", fontsize=8, color=colour)
    return figure


def slices_figure(samples: Sequence[Sample], threshold: float) -> Figure:
    """Each slice with hits in green, misses in magenta and false marks in orange.

    Pixels above the threshold are marked, as in the metrics.
    """
    figure, panels = _panels(len(samples))
    for axes, (hu, mask, logits) in zip(panels, samples, strict=True):
        truth, marked = mask[0].numpy() > 0, logits[0].sigmoid().numpy() > threshold
        _show(axes, hu[hu.shape[0] // 2])
        axes.imshow(_overlay(truth, marked), interpolation="nearest")
        counts = ((truth & marked).sum(), (truth & ~marked).sum(), (~truth & marked).sum())
        axes.set_title("hit {}, missed {}, false {}".format(*counts), fontsize=8)
    return figure


def _show(axes: Axes, hu: torch.Tensor) -> None:
    low, high = LUNG_WINDOW_HU
    axes.imshow(hu.numpy(), cmap="gray", vmin=low, vmax=high)


def _overlay(truth: NDArray[np.bool_], marked: NDArray[np.bool_]) -> FloatArray:
    """(H, W, 4) colours, clear where there is neither truth nor mark."""
    rgba = np.zeros((*truth.shape, 4))
    for (is_true, is_marked), colour in OUTCOMES.items():
        rgba[(truth == is_true) & (marked == is_marked)] = (*colour, OPACITY)
    return rgba


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    rows = -(-count // COLUMNS)
    figure = Figure(figsize=(2.4 * COLUMNS, 2.6 * rows), layout="constrained")
    panels = [figure.add_subplot(rows, COLUMNS, k + 1) for k in range(count)]
    for axes in panels:
        axes.set_axis_off()
    return figure, panels

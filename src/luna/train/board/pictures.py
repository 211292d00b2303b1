"""Figures for TensorBoard: curves, candidates and slices as the network judged them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from luna.run.figures import Axes, Figure, mpl
from luna.train.metrics import FloatArray

Sample = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""HU (C, …) float32, label () or mask (1, H, W), logits (2,) or (1, H, W); on the CPU."""

LUNG_WINDOW_HU = (-1000, 400)
HIT, MISS, FALSE_MARK = (0.0, 0.62, 0.45), (0.8, 0.1, 0.6), (0.9, 0.6, 0.0)
"""Distinct for the colour-blind too (Okabe and Ito 2008, and a magenta)."""
OUTCOMES = {(True, True): HIT, (True, False): MISS, (False, True): FALSE_MARK}
"""Colours by truth and call."""
OPACITY = 0.55
COLUMNS = 4
PANEL_DOTS, TITLE_DOTS, GAP_DOTS = 240, 20, 10
DOTS_PER_INCH = 100
SHOWN_PX, MARGIN_PX = 128, 12
"""Side of the square shown of a slice, more where truth and marks lie further apart, and what is
shown around those."""


def roc_figure(p: FloatArray, truth: NDArray[np.bool_]) -> Figure:
    """Draw the ROC curve with equal axes."""
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
    """Draw the middle slice of each candidate, with its label and probability.

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
    """Draw each slice with hits in green, misses in magenta and false marks in orange.

    Pixels above the threshold are marked, as in the metrics. Only what is around truth and marks
    is shown, and large enough that no pixel of them is lost; slices without any are shown whole.
    Of a patch the middle slice is shown.
    """
    samples = [(_middle(hu), _middle(mask), _middle(logits)) for hu, mask, logits in samples]
    masks = [(m[0].numpy() > 0, x[0].sigmoid().numpy() > threshold) for _, m, x in samples]
    squares = [_square_around(truth | marked) for truth, marked in masks]
    side = max((s.stop - s.start for square in squares if square for s in square), default=0)
    figure, panels = _panels(len(samples), max(PANEL_DOTS, side + GAP_DOTS))
    for axes, (hu, _, _), (truth, marked), square in zip(
        panels, samples, masks, squares, strict=True
    ):
        _show(axes, hu[hu.shape[0] // 2][square])
        axes.imshow(_overlay(truth, marked)[square], interpolation="nearest")
        counts = ((truth & marked).sum(), (truth & ~marked).sum(), (~truth & marked).sum())
        axes.set_title("hit {}, missed {}, false {}".format(*counts), fontsize=8)
    return figure


def _middle(tensor: torch.Tensor) -> torch.Tensor:
    """The middle slice (1, H, W) of a patch (1, D, H, W); slices (C, H, W) as they are."""
    return tensor[:, tensor.shape[1] // 2] if tensor.dim() == 4 else tensor


def _square_around(where: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the rows and columns of a square around all set pixels of (H, W), cut at the border.

    Nothing, which cuts nothing off, when none is.
    """
    if not where.any():
        return ()
    ends = [np.flatnonzero(where.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    side = max(SHOWN_PX, *(int(last - first) + 1 + 2 * MARGIN_PX for first, last in ends))
    starts = [
        int(np.clip((first + last + 1 - side) // 2, 0, max(size - side, 0)))
        for (first, last), size in zip(ends, where.shape, strict=True)
    ]
    return tuple(slice(start, start + side) for start in starts)


def _show(axes: Axes, hu: torch.Tensor) -> None:
    low, high = LUNG_WINDOW_HU
    axes.imshow(hu.numpy(), cmap="gray", vmin=low, vmax=high)


def _overlay(truth: NDArray[np.bool_], marked: NDArray[np.bool_]) -> FloatArray:
    """Return colours (H, W, 4), clear where there is neither truth nor mark."""
    rgba = np.zeros((*truth.shape, 4))
    for (is_true, is_marked), colour in OUTCOMES.items():
        rgba[(truth == is_true) & (marked == is_marked)] = (*colour, OPACITY)
    return rgba


def _panels(count: int, side_dots: int = PANEL_DOTS) -> tuple[Figure, list[Axes]]:
    rows = -(-count // COLUMNS)
    width, height = COLUMNS * side_dots, rows * (side_dots + TITLE_DOTS)
    size_inches = (width / DOTS_PER_INCH, height / DOTS_PER_INCH)
    figure = Figure(size_inches, DOTS_PER_INCH, layout="constrained")
    panels = [figure.add_subplot(rows, COLUMNS, k + 1) for k in range(count)]
    for axes in panels:
        axes.set_axis_off()
    return figure, panels

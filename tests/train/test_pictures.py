"""What the figures for TensorBoard show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from luna.train.board.pictures import (
    FALSE_MARK,
    HIT,
    MISS,
    candidates_figure,
    roc_figure,
    slices_figure,
)


def test_a_slice_shows_hit_miss_and_false_mark() -> None:
    mask = torch.tensor([[[1, 1, 0, 0]]], dtype=torch.uint8)
    logits = torch.tensor([[[5.0, -5.0, 5.0, -5.0]]])
    figure = slices_figure([(torch.full((7, 1, 4), -800.0), mask, logits)], 0.5)
    (axes,) = figure.axes
    overlay = np.asarray(axes.images[1].get_array())
    for pixel, colour in zip(overlay[0], (HIT, MISS, FALSE_MARK), strict=False):
        assert tuple(pixel[:3]) == colour
    assert overlay[0, 3, 3] == 0
    assert axes.get_title() == "hit 1, missed 1, false 1"


def orange_dots(figure: Figure) -> int:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    dots = np.asarray(canvas.buffer_rgba()).astype(int)
    return int((dots[..., 0] - dots[..., 2] > 80).sum())


@pytest.mark.parametrize("others", [[], [(511, 0), (0, 511)]])
def test_no_marked_pixel_of_a_whole_slice_is_lost(others: list[tuple[int, int]]) -> None:
    samples = []
    for place in ((200, 300), (200, 301), (201, 300), (201, 301)):
        logits = torch.full((1, 512, 512), -5.0)
        logits[0, *zip(place, *others, strict=True)] = 5.0
        samples.append((torch.full((7, 512, 512), -1000.0), torch.zeros(1, 512, 512), logits))
    assert orange_dots(slices_figure(samples, 0.5)) >= 4 * (1 + len(others))


def test_a_slice_is_shown_around_truth_and_marks() -> None:
    rows = torch.arange(512.0)[None, :, None].expand(7, 512, 512)
    mask, logits = torch.zeros(1, 512, 512), torch.full((1, 512, 512), -5.0)
    empty = (rows, mask.clone(), logits)
    mask[0, 300, 511] = 1
    shown, whole = (
        np.asarray(axes.images[0].get_array())
        for axes in slices_figure([(rows, mask, logits), empty], 0.5).axes
    )
    assert shown.shape == (128, 128)
    assert shown[0, 0] == 300 - 64
    assert whole.shape == (512, 512)


def test_a_pixel_is_marked_above_the_threshold_of_the_metrics() -> None:
    p = torch.tensor([[[0.25, 0.35, 0.25, 0.35]]])
    mask = torch.tensor([[[1, 1, 0, 0]]], dtype=torch.uint8)
    sample = (torch.full((7, 1, 4), -800.0), mask, p.logit())
    titles = [slices_figure([sample], at).axes[0].get_title() for at in (0.2, 0.3, 0.4)]
    assert titles == [
        "hit 2, missed 0, false 2",
        "hit 1, missed 1, false 1",
        "hit 0, missed 2, false 0",
    ]


def test_a_candidate_is_coloured_by_what_it_was_called() -> None:
    hu, logits = torch.zeros(1, 4, 3, 3), torch.tensor([0.0, 1.0])  # p = 0.731
    samples = [(hu, torch.tensor(label), logits) for label in (1, 0)]
    for threshold, colours in ((0.7, [HIT, FALSE_MARK]), (0.8, [MISS, "black"])):
        axes = candidates_figure(samples, threshold).axes
        assert [a.title.get_color() for a in axes] == colours


def test_a_candidate_shows_its_middle_slice_label_and_probability() -> None:
    hu = torch.arange(4.0)[None, :, None, None].expand(1, 4, 3, 3)
    figure = candidates_figure([(hu, torch.tensor(1), torch.tensor([0.0, 0.0]))] * 5, 0.5)
    assert len(figure.axes) == 5
    assert figure.axes[0].get_title() == "yes, p = 0.500"
    assert np.asarray(figure.axes[0].images[0].get_array()).tolist() == [[2.0] * 3] * 3


def test_the_roc_curve_goes_straight_through_equal_scores() -> None:
    p, truth = np.array([0.5, 0.5, 0.5, 0.5, 0.9]), np.array([True, True, False, False, False])
    (line,) = roc_figure(p, truth).axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [(0, 0), (1 / 3, 0), (1, 1)])

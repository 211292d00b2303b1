"""What the figures for TensorBoard show."""

from __future__ import annotations

import numpy as np
import torch

from luna.train.pictures import FALSE_MARK, HIT, MISS, candidates_figure, roc_figure, slices_figure


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

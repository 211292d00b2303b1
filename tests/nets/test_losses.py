"""Losses against values worked out by hand."""

import math

import pytest
import torch

from luna.nets.losses import cross_entropy, dice_loss, segmentation_loss


def test_cross_entropy_per_sample() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
    losses = cross_entropy(logits, torch.tensor([0, 1]))
    assert losses.tolist() == pytest.approx([math.log(2), math.log(4 / 3)], rel=1e-6)


def test_dice_is_per_sample_with_one_pixel_of_epsilon() -> None:
    p = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
    mask = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    losses = dice_loss(p.reshape(3, 1, 2, 2), mask.reshape(3, 1, 2, 2))
    # 1 - (2·1+1)/(2+1+1), an empty mask met by nothing, 1 - (2·1+1)/(2+2+1).
    assert losses.tolist() == pytest.approx([0.25, 0.0, 0.4])


def test_segmentation_adds_eight_times_what_is_missed() -> None:
    # Logits of ±30 are 1 and 0 to float32: one hit, one miss, one false mark.
    logits = torch.tensor([30.0, -30.0, 30.0, -30.0]).reshape(1, 1, 2, 2)
    mask = torch.tensor([1, 1, 0, 0]).reshape(1, 1, 2, 2)
    # Dice 1 - 3/5; inside the mask 1 - 3/4.
    assert segmentation_loss(logits, mask).item() == pytest.approx(0.4 + 8 * 0.25, rel=1e-6)


def test_a_false_mark_costs_nothing_in_the_second_term() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0] = 1
    hit = torch.where(mask > 0, 30.0, -30.0)
    everything = torch.full_like(mask, 30.0)
    assert segmentation_loss(hit, mask).item() == pytest.approx(0, abs=1e-6)
    assert segmentation_loss(everything, mask).item() == pytest.approx(1 - 9 / 21, rel=1e-6)


def test_bf16_logits_are_judged_in_float32() -> None:
    logits = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    loss = segmentation_loss(logits, torch.ones(2, 1, 8, 8, dtype=torch.bool))
    assert loss.dtype is torch.float32
    assert loss.tolist() == segmentation_loss(logits.float(), torch.ones(2, 1, 8, 8)).tolist()

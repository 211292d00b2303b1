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


def test_cross_entropy_is_added_as_a_mean_over_pixels_in_which_nodules_count_more() -> None:
    logits, mask = torch.zeros(1, 1, 2, 2), torch.tensor([1, 0, 0, 0]).reshape(1, 1, 2, 2)
    plain, more = (segmentation_loss(logits, mask, 3.0, weight).item() for weight in (0.0, 10.0))
    # One pixel counts 1 + 3, three count 1, and each costs ln 2.
    assert more - plain == pytest.approx(10 * math.log(2) * (4 + 3) / 4, rel=1e-6)


def test_only_cross_entropy_teaches_what_the_network_is_sure_to_be_no_nodule() -> None:
    gradients = []
    for weight in (0.0, 10.0):
        logits = torch.full((1, 1, 2, 2), -30.0, requires_grad=True)
        loss = segmentation_loss(logits, torch.ones(1, 1, 2, 2), 3.0, weight).sum()
        gradients.append(torch.autograd.grad(loss, logits)[0].abs().max().item())
    assert gradients[0] < 1e-9
    assert gradients[1] > 1


def test_coarser_levels_count_half_as_much_each() -> None:
    mask = torch.tensor([1, 1, 0, 0]).reshape(1, 1, 2, 2)
    fine, coarse = torch.tensor([[30.0, -30, 30, -30], [-30.0, -30, 30, 30]]).reshape(2, 1, 1, 2, 2)
    alone = [segmentation_loss(level, mask).item() for level in (fine, coarse)]
    both = segmentation_loss(torch.cat([fine, coarse], dim=1), mask).item()
    assert both == pytest.approx((alone[0] + alone[1] / 2) / 1.5, rel=1e-6)


def test_the_hardest_pixels_count_as_much_as_all_the_rest() -> None:
    logits = torch.full((1, 1, 10, 10), -9.0)
    logits[..., 0, 0] = 9.0  # one false mark among a hundred pixels
    mask = torch.zeros(1, 1, 10, 10)
    plain, hard = (segmentation_loss(logits, mask, 0.0, 1.0, share).item() for share in (0.0, 0.01))
    dice = segmentation_loss(logits, mask, 0.0).item()
    assert plain - dice == pytest.approx(9 / 100, rel=0.01)
    assert hard - dice == pytest.approx(9 / 2, rel=0.01)


def test_a_target_that_numbers_a_nodule_is_a_yes() -> None:
    logits = torch.tensor([[0.3, -0.2]] * 3)
    losses = cross_entropy(logits, torch.tensor([0, 1, 57])).tolist()
    assert losses[1] == losses[2] != losses[0]

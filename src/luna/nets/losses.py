"""The losses of the networks; one value per sample, never a mean."""

from __future__ import annotations

import torch
from torch.nn import functional as F

DICE_EPSILON = 1.0
"""Added to numerator and denominator, in pixels: an empty mask met by nothing costs 0."""

FALSE_NEGATIVE_WEIGHT = 8.0
"""How much more a missed nodule pixel costs. Source: book, chapter 13."""


def cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each sample: logits (N, 2) and target (N,) int64 to (N,) float32."""
    return F.cross_entropy(logits.float(), target, reduction="none")


def dice_loss(p: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One minus the Dice overlap of each sample: (N, 1, H, W) probabilities and mask to (N,).

    The sums run over probabilities, not over a thresholded mask. Source: book, chapter 13.

    >>> p = torch.tensor([1.0, 0.5, 0.0, 0.0]).reshape(1, 1, 2, 2)
    >>> dice_loss(p, torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 2, 2)).round(decimals=4)
    tensor([0.1429])
    """
    p, mask = p.flatten(1).float(), mask.flatten(1).float()
    overlap = 2 * (p * mask).sum(1) + DICE_EPSILON
    return 1 - overlap / (p.sum(1) + mask.sum(1) + DICE_EPSILON)


def segmentation_loss(
    logits: torch.Tensor,
    mask: torch.Tensor,
    false_negative_weight: float = FALSE_NEGATIVE_WEIGHT,
    cross_entropy_weight: float = 0.0,
) -> torch.Tensor:
    """Return the Dice loss plus a weighted one of the voxels in the mask: (N, 1, H, W) to (N,).

    The second term sees no false mark, so it is the cost of false negatives alone.
    Source: book, chapter 13.

    Dice has no gradient where the network is sure, so it never learns the nodules that it is sure
    are none. Cross entropy has one: its mean over the pixels can be added, in which those of
    nodules count as much more as in the Dice terms (Isensee et al. 2021, nnU-Net, adds it too).
    """
    p, mask = logits.float().sigmoid(), mask.float()
    loss = dice_loss(p, mask) + false_negative_weight * dice_loss(p * mask, mask)
    if cross_entropy_weight:
        loss = loss + cross_entropy_weight * _pixel_loss(logits, mask, 1 + false_negative_weight)
    return loss


def _pixel_loss(logits: torch.Tensor, mask: torch.Tensor, weight: float) -> torch.Tensor:
    """Mean cross entropy of the pixels of each sample, those in the mask weighted."""
    of_pixel = F.binary_cross_entropy_with_logits(
        logits.float(), mask, reduction="none", pos_weight=mask.new_full((), weight)
    )
    return of_pixel.flatten(1).mean(1)

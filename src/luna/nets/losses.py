"""The losses of the networks; one value per sample, never a mean."""

from __future__ import annotations

import torch
from torch.nn import functional as F

DICE_EPSILON = 1.0
"""Added to numerator and denominator, in pixels: an empty mask met by nothing costs 0."""

FALSE_NEGATIVE_WEIGHT = 8.0
"""How much more a missed nodule pixel costs. Source: book, chapter 13."""


def cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each sample: logits (N, 2) and target (N,) int64 to (N,) float32.

    Any target above 0 is a yes: it may be the number of a nodule.
    """
    return F.cross_entropy(logits.float(), target.clamp(max=1), reduction="none")


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
    hard_share: float = 0.0,
) -> torch.Tensor:
    """Return the loss of marking a mask (N, 1, …): logits (N, L, …) of L levels to (N,).

    The first level is the answer; the coarser ones of a network with deep supervision count half
    as much each as the one before.
    """
    weights = [0.5**level for level in range(logits.shape[1])]
    losses = [
        weight
        * _mask_loss(level[:, None], mask, false_negative_weight, cross_entropy_weight, hard_share)
        for weight, level in zip(weights, logits.unbind(1), strict=True)
    ]
    return torch.stack(losses).sum(0) / sum(weights)


def _mask_loss(
    logits: torch.Tensor,
    mask: torch.Tensor,
    false_negative_weight: float,
    cross_entropy_weight: float,
    hard_share: float,
) -> torch.Tensor:
    """Return the Dice loss plus a weighted one of the voxels in the mask: (N, 1, …) to (N,).

    The second term sees no false mark, so it is the cost of false negatives alone.
    Source: book, chapter 13.

    Dice has no gradient where the network is sure, so it never learns the nodules that it is sure
    are none. Cross entropy has one: its mean over the pixels can be added, in which those of
    nodules count as much more as in the Dice terms (Isensee et al. 2021, nnU-Net, adds it too).
    """
    p, mask = logits.float().sigmoid(), mask.float()
    loss = dice_loss(p, mask) + false_negative_weight * dice_loss(p * mask, mask)
    if cross_entropy_weight:
        of_pixel = _pixel_loss(logits, mask, 1 + false_negative_weight)
        loss = loss + cross_entropy_weight * _mean_of_hard(of_pixel, hard_share)
    return loss


def _pixel_loss(logits: torch.Tensor, mask: torch.Tensor, weight: float) -> torch.Tensor:
    """Cross entropy of the pixels of each sample (N, P), those in the mask weighted."""
    of_pixel = F.binary_cross_entropy_with_logits(
        logits.float(), mask, reduction="none", pos_weight=mask.new_full((), weight)
    )
    return of_pixel.flatten(1)


def _mean_of_hard(of_pixel: torch.Tensor, hard_share: float) -> torch.Tensor:
    """The mean over the pixels (N, P); or of the hardest share of them and of the rest, halved.

    Most pixels are air, and learned at once: in the plain mean the hard ones vanish. The mean of
    the rest is what a random sample of them would give on average, and resumes to the bit.

    >>> _mean_of_hard(torch.tensor([[4.0, 0.0, 1.0, 2.0]]), 0.25)
    tensor([2.5000])
    """
    hard = round(hard_share * of_pixel.shape[1])
    if not 0 < hard < of_pixel.shape[1]:
        return of_pixel.mean(1)
    top = of_pixel.topk(hard, dim=1, sorted=False).values.sum(1)
    rest = (of_pixel.sum(1) - top) / (of_pixel.shape[1] - hard)
    return (top / hard + rest) / 2

"""One forward pass of a segmenter: from HU to the probability of each voxel."""

from __future__ import annotations

import torch
from torch import nn

from luna.detect.config import SegmentConfig
from luna.nets.card import Card
from luna.nets.probe import refuse_non_finite
from luna.run.machine.precision import arithmetic


def probability(
    net: nn.Module, hu: torch.Tensor, card: Card, config: SegmentConfig, device: torch.device
) -> torch.Tensor:
    """Return the probabilities of the network's voxels, float32 on its device.

    Raises TrustError where an output is not a number.
    """
    with torch.inference_mode(), arithmetic(device, config.precision):
        logits = net(hu).float()
        refuse_non_finite(logits, why=f"{card.name} on slices of this scan")
        return torch.sigmoid(logits / card.temperature)

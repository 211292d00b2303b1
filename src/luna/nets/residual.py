"""luna's own 3-D classifier: residual blocks with batch norm, on crops of one voxel size.

He et al. 2016, "Deep Residual Learning for Image Recognition", in three dimensions.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from luna.nets.classifier import init_weights


class ResidualBlock(nn.Module):
    """Two 3×3×3 convolutions beside a 1×1×1 one; the first and the last halve each axis."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm3d(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm3d(out_channels)
        self.short = nn.Conv3d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(out)) + self.short(x), inplace=True)


class ResidualClassifier(nn.Module):
    """Candidate crops to two logits.

    Input (N, C, D, H, W) float HU, already clipped to the window on the bundle's card, with
    C = `scales` and (D, H, W) = `input_size`; output (N, 2) logits (no, yes). `widths` are the
    channels of the blocks; each but the first halves the resolution. The head sees where a feature
    is, for a nodule lies in the middle and a vessel goes through.

    The cubes of several scales go through the same blocks, and the head sees the features of
    all: a large nodule looks at a coarse scale as a small one does at a fine one.
    """

    def __init__(
        self,
        input_size: tuple[int, int, int] = (32, 32, 32),
        widths: tuple[int, ...] = (16, 32, 64, 64),
        scales: int = 1,
    ) -> None:
        super().__init__()
        self.input_size, self.scales = input_size, scales
        shrink = 2 ** (len(widths) - 1)
        fits = len(input_size) == 3 and not any(n % shrink for n in input_size)
        if not widths or min(widths) < 1 or not fits or scales < 1:
            raise ValueError(f"input {input_size} is not three multiples of {shrink}")
        self.input_norm = nn.BatchNorm3d(1)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(a, b, 1 if k == 0 else 2)
                for k, (a, b) in enumerate(pairwise((1, *widths)))
            )
        )
        # Sums over four blocks are large: without this a step of the head would overshoot.
        self.feature_norm = nn.BatchNorm3d(widths[-1], affine=False)
        features = widths[-1] * math.prod(n // shrink for n in input_size)
        self.head = nn.Linear(scales * features, 2)
        self.apply(init_weights)
        # Of thousands of features a random head would make certain nonsense: it begins undecided.
        nn.init.zeros_(self.head.weight)

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        cubes = hu.reshape(-1, 1, *hu.shape[2:])  # (N·C, 1, D, H, W)
        features: torch.Tensor = self.feature_norm(self.blocks(self.input_norm(cubes)))
        logits: torch.Tensor = self.head(features.reshape(hu.shape[0], -1))
        return logits

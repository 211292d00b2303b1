"""The 3-D convolutional network that judges one candidate (book, chapters 11, 12 and 14)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

POOLING = 2
"""Each block halves depth, height and width."""


class ConvBlock(nn.Module):
    """Two 3×3×3 convolutions with ReLU, then a 2× max pool."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv3d(out_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(x), inplace=True)
        x = F.relu(self.conv2(x), inplace=True)
        return F.max_pool3d(x, POOLING)


class Classifier(nn.Module):
    """Candidate crops to two logits.

    Input (N, 1, D, H, W) float HU, already clipped to the window on the bundle's card, with
    (D, H, W) = `input_size`; output (N, 2) logits (no, yes). The first layer is a batch norm,
    so raw HU go in. `widths` are the channels of the blocks: the default is the book's.
    Source: book, chapter 11 (`LunaModel`).
    """

    def __init__(
        self,
        input_size: tuple[int, int, int] = (32, 48, 48),
        widths: tuple[int, ...] = (8, 16, 32, 64),
    ) -> None:
        super().__init__()
        self.input_size = input_size
        shrink = POOLING ** len(widths)
        if not widths or min(widths) < 1 or len(input_size) != 3 or min(input_size) < shrink:
            raise ValueError(f"input {input_size} does not survive {len(widths)} poolings")
        self.input_norm = nn.BatchNorm3d(1)
        self.blocks = nn.Sequential(*(ConvBlock(a, b) for a, b in pairwise((1, *widths))))
        self.head = nn.Linear(widths[-1] * math.prod(n // shrink for n in input_size), 2)
        self.apply(init_weights)

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        # The head was trained on features in (channel, depth, height, width) order, whatever
        # the memory layout is: flatten() reads logical order.
        features: torch.Tensor = self.blocks(self.input_norm(hu))
        logits: torch.Tensor = self.head(features.flatten(1))
        return logits


def init_weights(module: nn.Module) -> None:
    """Kaiming-normal weights by fan-out and small biases, as both of the book's networks start."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.Linear):
        if module.weight.is_meta:
            return  # nothing to draw, and torch takes a second to find that out
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            _, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
            nn.init.normal_(module.bias, std=1 / math.sqrt(fan_out))

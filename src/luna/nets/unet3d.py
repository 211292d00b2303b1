"""luna's 3-D U-Net, which marks nodule voxels in cubic patches of one voxel size.

Ronneberger et al. 2015 in three dimensions, with the instance norm, leaky rectifiers and deep
supervision of Isensee et al. 2021 (nnU-Net).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from luna.nets.classifier import init_weights

Irc = tuple[int, int, int]


class DoubleConv3d(nn.Module):
    """Two 3×3×3 convolutions, each followed by instance norm and a leaky rectifier."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.InstanceNorm3d(out_channels, affine=True)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.InstanceNorm3d(out_channels, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.leaky_relu(self.norm1(self.conv1(x)), inplace=True)
        return F.leaky_relu(self.norm2(self.conv2(x)), inplace=True)


class UpBlock3d(nn.Module):
    """Double the resolution, join the skip connection, convolve."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose3d(in_channels, out_channels, kernel_size=2, stride=2)
        self.convs = DoubleConv3d(2 * out_channels, out_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.convs(torch.cat([self.upsample(x), skip], dim=1))
        return out


class UNet3d(nn.Module):
    """A patch to one logit per voxel.

    Input (N, 1, D, H, W) float HU, clipped to the window on the bundle's card, D, H and W
    divisible by `alignment` and at least twice it; `input_size` is the patch that it was trained
    on. Output (N, 1, D, H, W) logits. In training there is a channel more for each coarser level,
    enlarged: the loss of these reaches the deep layers directly. `width` is the number of channels
    at full resolution and doubles at each of the `depth` levels.
    """

    def __init__(self, input_size: Irc = (96, 96, 96), depth: int = 4, width: int = 16) -> None:
        super().__init__()
        alignment = 1 << (depth - 1)
        fits = len(input_size) == 3 and not any(
            n % alignment or n < 2 * alignment for n in input_size
        )
        if depth < 2 or width < 1 or not fits:
            raise ValueError(f"no such 3-D U-Net: {input_size=}, {depth=}, {width=}")
        self.input_size = input_size
        channels = [width * 2**level for level in range(depth)]
        self.input_norm = nn.BatchNorm3d(1)
        self.down = nn.ModuleList(
            DoubleConv3d(a, b) for a, b in zip([1, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(UpBlock3d(2 * b, b) for b in reversed(channels[:-1]))
        self.heads = nn.ModuleList(nn.Conv3d(b, 1, kernel_size=1) for b in reversed(channels[:-1]))
        self.apply(init_weights)

    @property
    def alignment(self) -> int:
        """The total pooling: every side has to be a multiple of it."""
        return 1 << (len(self.down) - 1)

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        x = self.input_norm(hu)
        skips = []
        for level, block in enumerate(self.down):
            if level:
                x = F.avg_pool3d(x, 2)
            x = block(x)
            skips.append(x)
        skips.pop()
        levels: list[torch.Tensor] = []
        for block, head in zip(self.up, self.heads, strict=True):
            x = block(x, skips.pop())
            levels.insert(0, head(x))
        if not self.training:
            return levels[0]
        coarse = [
            F.interpolate(logits, hu.shape[2:], mode="trilinear", align_corners=False)
            for logits in levels[1:]
        ]
        return torch.cat([levels[0], *coarse], dim=1)

"""The 2.5-D U-Net that marks nodule voxels, slice by slice (book, chapter 13).

Ronneberger et al. 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
with padded convolutions, batch norm after the activation, and the neighbouring slices as
input channels.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from luna.nets.classifier import init_weights


class DoubleConv(nn.Module):
    """Two 3×3 convolutions, each followed by ReLU and batch norm, in this order."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(F.relu(self.conv1(x), inplace=True))
        out: torch.Tensor = self.norm2(F.relu(self.conv2(x), inplace=True))
        return out


class Upsample(nn.ConvTranspose2d):
    """Double the resolution: each pixel becomes 2×2 pixels of its own, by one matrix product.

    What the 2×2 transposed convolution of stride 2 computes, with its parameters. On a CPU the
    gradients of the weights of two such convolutions took a twelfth of a training step.
    """

    bias: nn.Parameter

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        n, _, h, w = x.shape
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2·2·out, in)
        quads = F.linear(x.permute(0, 2, 3, 1), weight, self.bias.repeat(4))
        rows = quads.view(n, h, w, 2, 2, -1).transpose(2, 3).reshape(n, 2 * h, 2 * w, -1)
        return rows.permute(0, 3, 1, 2)


class UpBlock(nn.Module):
    """Double the resolution, join the skip connection, convolve."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = Upsample(in_channels, out_channels)
        self.convs = DoubleConv(2 * out_channels, out_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.convs(torch.cat([self.upsample(x), skip], dim=1))
        return out


class UNet(nn.Module):
    """A stack of neighbouring slices to one logit per pixel of the middle slice.

    Input (N, K, H, W) float HU, clipped to the window on the bundle's card, K =
    `context_slices` with the judged slice in the middle; H and W divisible by `alignment`.
    Output (N, 1, H, W) logits. `width` is the number of channels at full resolution and
    doubles at each of the `depth` levels.
    """

    def __init__(self, context_slices: int = 7, depth: int = 3, width: int = 16) -> None:
        super().__init__()
        if context_slices < 1 or context_slices % 2 == 0 or depth < 1 or width < 1:
            raise ValueError(f"no such U-Net: {context_slices=}, {depth=}, {width=}")
        self.context_slices = context_slices
        channels = [width * 2**level for level in range(depth)]
        self.input_norm = nn.BatchNorm2d(context_slices)
        self.down = nn.ModuleList(
            DoubleConv(a, b) for a, b in zip([context_slices, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(UpBlock(2 * b, b) for b in reversed(channels[:-1]))
        self.head = nn.Conv2d(width, 1, kernel_size=1)
        self.apply(init_weights)

    @property
    def alignment(self) -> int:
        """The total pooling: height and width have to be multiples of it."""
        return 1 << (len(self.down) - 1)

    @property
    def receptive_margin(self) -> int:
        """The distance in pixels up to which other pixels influence a pixel's logit.

        Two 3×3 convolutions reach 2 pixels at their level's scale, once down and once up
        (the deepest level once); pooling and transposed convolution reach at most one more
        coarse pixel each, which the alignment of the box covers.
        """
        levels = len(self.down)
        reach = sum((2 if level == levels - 1 else 4) << level for level in range(levels))
        return reach + sum(1 << level for level in range(levels))

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        x = self.input_norm(hu)
        skips = []
        for level, block in enumerate(self.down):
            if level:
                x = F.avg_pool2d(x, 2)
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = block(x, skips.pop())
        logits: torch.Tensor = self.head(x)
        return logits

"""A built-in probe: a network's output must be a number and depend on its input."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from luna.nets.unet import UNet
from luna.nets.unet3d import UNet3d
from luna.run.errors import TrustError

PIXELS = 64
"""Height and width of a probe slice, where the U-Net's alignment is no larger."""

PIXELS_3D = 32
"""The same of a probe of a 3-D U-Net."""

LEAST_SPREAD = 1e-6
"""Logits that differ by less than this over the probe are the same answer, up to rounding."""

LUNG_HU, NODULE_HU, NOISE_HU = -850.0, 40.0, 100.0


def refuse_useless(module: nn.Module, hu_window: tuple[int, int]) -> None:
    """Raise TrustError when a network's logits on the probe are not finite, or are all equal.

    The probe is air, lung with a ball of soft tissue, soft tissue, and noise, one at a time.
    Finite weights can fail it: a variance below zero, an overflow, or layers of zeros.
    """
    with torch.inference_mode():
        answers = [_answer(module, hu.clamp(*hu_window)) for hu in probe_inputs(module)]
    for logits in answers:
        refuse_non_finite(logits, why="on a built-in probe")
    every = torch.cat([logits.flatten() for logits in answers])
    if float(every.max() - every.min()) < LEAST_SPREAD:
        raise TrustError(
            "the network gives the same answer whatever it sees",
            why="on a built-in probe of air, lung, a nodule and noise",
            hint="the weights are damaged or were never trained; use others",
        )


def refuse_non_finite(logits: torch.Tensor, why: str = "") -> None:
    """Raise TrustError when an output is NaN or infinite: no comparison with it means anything."""
    if not bool(logits.isfinite().all()):
        raise TrustError(
            "the network's output is not a number",
            why=why,
            hint="the weights are damaged, though each of them is finite; use others",
        )


def _answer(module: nn.Module, hu: torch.Tensor) -> torch.Tensor:
    """The logits of pixels, or the margin (yes - no) of a crop."""
    logits: torch.Tensor = module(hu).float()
    return logits if isinstance(module, UNet | UNet3d) else logits[:, 1] - logits[:, 0]


def probe_inputs(module: nn.Module) -> list[torch.Tensor]:
    """Return the inputs, each (1, C, …) float32 HU in the network's own size."""
    if isinstance(module, UNet):
        side = max(PIXELS, module.alignment)
        shape: tuple[int, ...] = (module.context_slices, side, side)
    elif isinstance(module, UNet3d):
        shape = (max(PIXELS_3D, 2 * module.alignment),) * 3
    else:
        shape = module.input_size  # type: ignore[assignment]
    centered = [(np.arange(n) - (n - 1) / 2) / n for n in shape]
    axes = centered[1:] if isinstance(module, UNet) else centered  # a U-Net sees a rod
    grids = np.meshgrid(*axes, indexing="ij")
    nodule = np.broadcast_to(sum(grid**2 for grid in grids) < 0.15**2, shape)
    noise = np.random.default_rng(0).normal(LUNG_HU, NOISE_HU, shape)
    views = [
        np.full(shape, -1000.0),
        np.where(nodule, NODULE_HU, LUNG_HU),
        np.full(shape, NODULE_HU),
        noise,
    ]
    tensors = [torch.from_numpy(view.astype(np.float32)) for view in views]
    if isinstance(module, UNet):
        return [t[None] for t in tensors]
    scales = getattr(module, "scales", 1)
    return [t[None, None].repeat(1, scales, 1, 1, 1) for t in tensors]

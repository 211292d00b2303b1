"""Time the augmentation of training batches against a whole three-dimensional resampling.

    python scripts/bench_augment.py [--threads 2] [--device cpu]

The plain way is one affine grid and one `grid_sample` per batch, as tutorials and the book do
it, with torch's noise: three dimensions for chunks, and for crops image and mask together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F

from luna.data.augment import Augment, AugmentConfig

REPEATS, ROUNDS = 5, 7
PARTS = {
    "flip": AugmentConfig(flip=True),
    "flip, noise": AugmentConfig(flip=True, noise_hu=25),
    "flip, offset, scale, rotate": AugmentConfig(
        flip=True, offset=0.05, scale=0.2, rotate_degrees=180
    ),
    "everything": AugmentConfig(flip=True, offset=0.05, scale=0.2, rotate_degrees=180, noise_hu=25),
}


def batch(shape: tuple[int, ...], device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise for HU, labels for chunks and masks for crops, and seeds."""
    hu = (300 * torch.randn(shape)).to(device)
    chunks = len(shape) == 5
    target = torch.zeros(shape[0] if chunks else (shape[0], 1, *shape[2:]), dtype=torch.uint8)
    return hu, target.to(device), torch.arange(shape[0], device=device)


def plain(hu: torch.Tensor, side: int | None) -> torch.Tensor:
    """Any affine map; what it costs does not depend on which."""
    axes = hu.dim() - 2
    theta = torch.eye(axes, axes + 1, device=hu.device)[None].repeat(len(hu), 1, 1)
    theta += 0.1 * torch.rand_like(theta)
    if side is not None:  # The plain way cuts first, and moves the mask as one more slice.
        hu = torch.cat([hu, hu[:, :1]], dim=1)[..., :side, :side].contiguous()
    grid = F.affine_grid(theta, list(hu.shape), align_corners=False)
    moved = F.grid_sample(hu, grid, padding_mode="border", align_corners=False)
    return moved + 25 * torch.randn_like(moved)


def milliseconds(run: Callable[[], object], samples: int, device: str) -> tuple[float, float]:
    """Per sample: the median and the best of the rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(REPEATS):
            run()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / REPEATS / samples * 1e3)
    times = sorted(times[1:])
    return times[len(times) // 2], times[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.device}, {arguments.threads} threads; ms per sample, median (best)")
    for name, shape, side in (
        ("chunks 24 × 32×48×48", (24, 1, 32, 48, 48), None),
        ("crops 32 × 7×96×96 → 64×64", (32, 7, 96, 96), 64),
    ):
        hu, target, seeds = batch(shape, arguments.device)
        ways: dict[str, Callable[[], object]] = {"plain": lambda hu=hu, side=side: plain(hu, side)}
        for part, config in PARTS.items():
            augment = Augment(replace(config, crop_vox=side))
            ways[part] = lambda f=augment, a=(hu, target, seeds): f(*a)
        print(name)
        for way, run in ways.items():
            median, best = milliseconds(run, shape[0], arguments.device)
            print(f"  {way:28} {median:7.3f} ({best:.3f})")


if __name__ == "__main__":
    main()

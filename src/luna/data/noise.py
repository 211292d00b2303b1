"""Hash seeds, and draw noise from hashes: the same on every device, in every batch."""

from __future__ import annotations

from functools import lru_cache

import torch

_NOISE_BITS = 16
"""Bits of each voxel's hash that choose its noise."""


def mix(words: torch.Tensor) -> torch.Tensor:
    """Hash int64 words; products wrap around. Source: splitmix64 (Steele and others, 2014)."""
    words = (words + 1) * -0x61C8864680B583EB
    words = (words ^ _right(words, 30, 64)) * -0x40A7B892E31B1A47
    words = (words ^ _right(words, 27, 64)) * -0x6B2FB644ECCEEE15
    return words ^ _right(words, 31, 64)


def _right(words: torch.Tensor, by: int, bits: int) -> torch.Tensor:
    """Shift right without copies of the sign."""
    shifted: torch.Tensor = words >> by
    shifted &= (1 << (bits - by)) - 1
    return shifted


@lru_cache(maxsize=4)
def _normal_table(device: torch.device) -> torch.Tensor:
    """Return the middle values of 2^16 equally likely ranges of the normal distribution.

    The outermost are 4.3 standard deviations away.
    """
    levels = 1 << _NOISE_BITS
    middle = (torch.arange(levels, dtype=torch.float64) + 0.5) / levels
    values: torch.Tensor = torch.special.ndtri(middle)
    return values.float().to(device)


def noise(key: torch.Tensor, std_hu: float, like: torch.Tensor) -> torch.Tensor:
    """Normal noise (N, …): a hash of each sample's key (N, 2) and the voxel's number.

    A hash of 32 bits and a table of quantiles need neither a generator per sample nor
    logarithms, and give the same noise on every device. Source: the mixing constants of "lowbias32"
    (Wellons, hash prospector).
    """
    voxel = torch.arange(like[0].numel(), dtype=torch.int32, device=key.device)
    bits = voxel[None] + key[:, :1]
    bits ^= _right(bits, 16, 32)
    bits *= 0x7FEB352D
    bits += key[:, 1:]
    bits ^= _right(bits, 15, 32)
    bits *= -0x7B935975
    table: torch.Tensor = std_hu * _normal_table(key.device)
    drawn = table.index_select(0, _right(bits, 32 - _NOISE_BITS, 32).flatten())
    return drawn.reshape(like.shape)

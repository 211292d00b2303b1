"""Augment training samples: flips, offsets, scale, rotation, noise and crops.

Parameters are drawn first and applied after. A sample's parameters and noise are hashes of its
own seed, so they do not depend on its batch, its place in it, the rank or the device. Images
and masks are moved by the same map; a chunk is a stack of slices to which the map in the plane
applies, and then a line along the index axis, which together are the trilinear interpolation.

Legend: N samples, C context slices, D/H/W index/row/column, A spatial axes in that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F

from luna.data.noise import mix, noise
from luna.run.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """The strength of each augmentation; 0 and false turn it off. Raises UsageError."""

    flip: bool = False
    """Mirror each axis in half of the samples."""
    offset: float = 0.0
    """Longest shift along each axis, as a fraction of the crop's length along that axis."""
    scale: float = 0.0
    """Largest change of size along each axis, as a fraction: 0.2 is 80 % to 120 %."""
    rotate_degrees: float = 0.0
    """Largest rotation within the slice, either way; 180 is any direction."""
    noise_hu: float = 0.0
    """Standard deviation of normal noise added to every voxel, in HU."""
    crop_vox: int | None = None
    """Rows and columns cut out at a random place of a larger crop; "none" keeps all."""

    def __post_init__(self) -> None:
        for name in ("offset", "scale"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, must be in [0, 1)")
        if not 0 <= self.rotate_degrees <= 180:
            raise UsageError(f"rotate_degrees is {self.rotate_degrees}, must be in [0, 180]")
        if not 0 <= self.noise_hu < math.inf:
            raise UsageError(f"noise_hu is {self.noise_hu}, must be at least 0")
        if self.crop_vox is not None and self.crop_vox < 1:
            raise UsageError(f"crop_vox is {self.crop_vox}, must be at least 1")

    @property
    def interpolates(self) -> bool:
        """Whether voxels are moved to places between voxels."""
        return bool(self.offset or self.scale or self.rotate_degrees)


class Draw(NamedTuple):
    """The parameters of each sample, on the device of the seeds.

    The voxel at distance `d` (in voxels, per axis) from the centre of the cut-out comes to lie
    at `shift_vox + turn(factor * d)` from the centre of the result, where `turn` leads by
    `angle` from the row axis towards the column axis.

    `factor` (N, A) is negative for mirrored axes; `shift_vox` (N, A); `angle` (N,) in radians;
    `corner` (N, 2) int64, first row and column of the cut-out; `noise_key` (N, 2) int32.
    """

    factor: torch.Tensor
    shift_vox: torch.Tensor
    angle: torch.Tensor
    corner: torch.Tensor
    noise_key: torch.Tensor


@dataclass(frozen=True, slots=True)
class Augment:
    """Draws parameters and applies them: the training loop calls it with samples and seeds.

    `zoom` has a number for each channel of a chunk that shows one place at several scales: the
    voxel size of the finest over its own. Lengths are drawn for the finest, and noise is weaker
    in larger voxels.
    """

    config: AugmentConfig
    zoom: tuple[float, ...] = (1.0,)

    def __call__(
        self, hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return HU and targets, each sample changed by its own seed only.

        `hu` (N, C, H, W) or (N, C, D, H, W) float32, there with C as in `zoom`; `target` labels
        (N,), which stay, or masks (N, 1, H, W) or (N, 1, D, H, W) of any dtype, moved to the
        nearest voxel; `seeds` (N,) int64.
        """
        drawn = draw(self.config, seeds, hu.shape[2:])
        moved = target if target.dim() == 1 else apply_to_mask(self.config, drawn, target)
        if len(self.zoom) == 1:
            return apply_to_image(self.config, drawn, hu), moved
        return torch.cat([self._scale(k, drawn, hu) for k in range(len(self.zoom))], dim=1), moved

    def _scale(self, k: int, drawn: Draw, hu: torch.Tensor) -> torch.Tensor:
        """One channel (N, 1, D, H, W), moved as far in mm as the finest."""
        zoom = self.zoom[k]
        config = replace(self.config, noise_hu=self.config.noise_hu * zoom**1.5)
        own = drawn._replace(shift_vox=drawn.shift_vox * zoom, noise_key=drawn.noise_key + k)
        return apply_to_image(config, own, hu[:, k : k + 1])


# Each parameter has its own columns of the draw: turning one on leaves the others as they were.
_FLIP, _SHIFT, _SCALE = slice(0, 3), slice(3, 6), slice(6, 9)
_ANGLE, _CORNER, _KEY = 9, slice(10, 12), slice(12, 14)
_COLUMNS = 14


def draw(config: AugmentConfig, seeds: torch.Tensor, shape: Sequence[int]) -> Draw:
    """Return the parameters that seeds (N,) int64 stand for; `shape` is H, W or D, H, W.

    Raises UsageError when the crop to cut out is larger than the input.
    """
    out = _out_shape(config, shape)
    axes = slice(3 - len(shape), 3)
    words = mix(mix(seeds)[:, None] + torch.arange(_COLUMNS, device=seeds.device))
    # 53 bits, from 0 to just below 1: exact in float64 on every device.
    share = ((words >> 11) & (2**53 - 1)).double() * 2.0**-53
    either_way = 2 * share - 1
    flipped = (share[:, _FLIP][:, axes] < 0.5) & config.flip
    size = 1 + config.scale * either_way[:, _SCALE][:, axes]
    lengths = _constant(tuple(map(float, out)), seeds.device)
    rooms = (shape[-2] - out[-2] + 1.0, shape[-1] - out[-1] + 1.0)
    return Draw(
        factor=torch.where(flipped, -size, size).float(),
        shift_vox=(config.offset * lengths * either_way[:, _SHIFT][:, axes]).float(),
        angle=math.radians(config.rotate_degrees) * either_way[:, _ANGLE],
        corner=(share[:, _CORNER] * _constant(rooms, seeds.device)).long(),
        noise_key=(words[:, _KEY] >> 32).to(torch.int32),
    )


def apply_to_image(config: AugmentConfig, drawn: Draw, hu: torch.Tensor) -> torch.Tensor:
    """Return images moved as drawn, linearly interpolated, and their noise added; float32 as given.

    A cut-out shows what lies around it in the larger input before anything else. Outside the
    input the nearest voxel of its border stands, as in the book: air there would
    cut a straight edge through tissue, which no crop in later use has, and might lie outside
    the HU window to which the input was clipped.
    """
    out = _out_shape(config, hu.shape[2:])
    slices = hu.reshape(len(hu), -1, *hu.shape[-2:])
    plane = _plane_positions(drawn, hu.shape[-2:], out[-2:])
    with torch.autocast(hu.device.type, enabled=False):
        moved = _bilinear(slices, plane) if config.interpolates else _nearest(slices, plane)
        if len(out) == 3:
            moved = _along_index(moved, _index_positions(drawn, out[0]), config.interpolates)
        if config.noise_hu:
            moved += noise(drawn.noise_key, config.noise_hu, moved)
    return moved.reshape(*hu.shape[:2], *out) if len(out) == 3 else moved


def apply_to_mask(config: AugmentConfig, drawn: Draw, mask: torch.Tensor) -> torch.Tensor:
    """Return masks (N, 1, …) moved as drawn, by the nearest voxel; dtype as given."""
    out = _out_shape(config, mask.shape[2:])
    slices = mask.reshape(len(mask), -1, *mask.shape[-2:])
    moved = _nearest(slices, _plane_positions(drawn, mask.shape[-2:], out[-2:]))
    if len(out) == 3:
        moved = _along_index(moved, _index_positions(drawn, out[0]), between=False)
    return moved.reshape(len(mask), 1, *out)


@lru_cache(maxsize=32)
def _constant(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Values on a device, float64; made once, as a GPU is waited for to take them."""
    return torch.tensor(values, dtype=torch.float64, device=device)


def _out_shape(config: AugmentConfig, shape: Sequence[int]) -> tuple[int, ...]:
    side = config.crop_vox
    if side is None:
        return tuple(shape)
    if side > min(shape[-2:]):
        raise UsageError(
            f"crop_vox is {side}, but samples have {shape[-2]} × {shape[-1]} voxels in a slice"
        )
    return (*shape[:-2], side, side)


def _plane_positions(
    drawn: Draw, shape: Sequence[int], out: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of the input, (N, H, W) float32 each, that every output voxel shows.

    Only single products, sums and quotients, which are rounded alike wherever a sample stands
    in its batch; fused ones are not.
    """
    device = drawn.factor.device
    # In float32, as its last bits may differ between vector and scalar code.
    cos, sin = (f(drawn.angle).float()[:, None, None] for f in (torch.cos, torch.sin))
    shift = drawn.shift_vox[:, -2:, None, None]
    factor = drawn.factor[:, -2:, None, None]
    centers = [(side - 1) / 2 for side in out]
    rows = torch.arange(out[0], device=device)[:, None] - centers[0] - shift[:, 0]
    columns = torch.arange(out[1], device=device)[None] - centers[1] - shift[:, 1]
    row = (cos * rows + sin * columns) / factor[:, 0]
    column = (cos * columns - sin * rows) / factor[:, 1]
    first = drawn.corner[:, :, None, None]
    return row + (first[:, 0] + centers[0]), column + (first[:, 1] + centers[1])


def _index_positions(drawn: Draw, length: int) -> torch.Tensor:
    """Slice of the input (N, D) float32 that every output slice shows."""
    center = (length - 1) / 2
    there = torch.arange(length, device=drawn.factor.device) - center - drawn.shift_vox[:, :1]
    return there / drawn.factor[:, :1] + center


def _bilinear(slices: torch.Tensor, plane: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Slices (N, C, H, W) at places of the plane, the same for all slices of a sample."""
    height, width = slices.shape[-2:]
    row, column = plane
    # grid_sample without align_corners has -1 and 1 at the outer edges of the outer voxels.
    grid = torch.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1], dim=-1)
    return F.grid_sample(slices, grid, padding_mode="border", align_corners=False)


def _nearest(slices: torch.Tensor, plane: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Slices (N, C, H, W) of any dtype at the voxels nearest to places of the plane."""
    height, width = slices.shape[-2:]
    row, column = plane
    place = _rounded(row, height) * width + _rounded(column, width)
    flat = place.flatten(1)[:, None].expand(-1, slices.shape[1], -1)
    moved = slices.flatten(2).gather(2, flat)
    return moved.reshape(*slices.shape[:2], *row.shape[1:])


def _along_index(slices: torch.Tensor, index: torch.Tensor, between: bool) -> torch.Tensor:
    """Slices (N, D, H, W) at places (N, D) of the index axis: interpolated, or the nearest."""
    depth = slices.shape[1]
    sample = torch.arange(len(slices), device=slices.device)[:, None]
    if not between:
        return slices[sample, _rounded(index, depth)]
    index = index.clamp(0, depth - 1)
    low = index.floor()
    share = (index - low)[:, :, None, None]
    above = slices[sample, (low.long() + 1).clamp(max=depth - 1)]
    below = slices[sample, low.long()]
    above -= below
    above *= share
    above += below
    return above


def _rounded(position: torch.Tensor, length: int) -> torch.Tensor:
    """The nearest voxel along an axis, halves upwards, int64; the border's outside."""
    return (position + 0.5).floor_().long().clamp_(0, length - 1)

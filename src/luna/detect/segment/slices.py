"""Marks the voxels of nodules, slice by slice with context (book, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from luna.ct.lungs.find import Lungs
from luna.ct.mask import BoxMask
from luna.ct.scan import AIR_HU, Scan
from luna.detect.config import SegmentConfig
from luna.detect.segment.forward import probability
from luna.detect.segment.grid import on_grid
from luna.nets.bundle import Bundle
from luna.nets.unet import UNet
from luna.nets.unet3d import UNet3d
from luna.run.errors import TrustError

BOX_STEP = 16
"""Boxes begin and end at multiples of this many pixels, so that few sizes occur: oneDNN keeps
compiled kernels and scratch memory for every size it meets (docs/performance.md)."""

Box = tuple[slice, slice]
Place = tuple[slice, slice, slice]


def segment(
    scan: Scan,
    lungs: Lungs,
    bundle: Bundle,
    config: SegmentConfig,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> BoxMask:
    """Mark the voxels of nodules, in the lungs' box or the whole scan.

    The marks are kept, a byte a voxel, and not the probabilities, which would be four.
    `progress(done, total)` counts slices.
    """
    box = _search_box(scan, lungs, config.region)
    marked = torch.zeros([s.stop - s.start for s in box], dtype=torch.bool, device=device)
    for place, p_voxel in probabilities(scan, lungs, bundle, config, device):
        inside = tuple(
            slice(s.start - b.start, s.stop - b.start) for s, b in zip(place, box, strict=True)
        )
        marked[inside] = p_voxel > config.threshold
        progress(inside[0].stop, len(marked))
    start_irc = (box[0].start, box[1].start, box[2].start)
    return BoxMask(start_irc=start_irc, voxels=marked.cpu().numpy())


def probabilities(
    scan: Scan, lungs: Lungs, bundle: Bundle, config: SegmentConfig, device: torch.device
) -> Iterator[tuple[Place, torch.Tensor]]:
    """Compute the probability of nodule per voxel, some slices at a time.

    Each item is a place in the scan and float32 (index, row, column) of that size. The first and
    last slice are repeated where the context reaches beyond the scan, as in the book. A network
    whose card states a voxel size runs on a grid of such voxels.
    """
    net, box = bundle.module, _search_box(scan, lungs, config.region)
    if isinstance(net, UNet | UNet3d) and bundle.card.spacing_mm is not None:
        yield from on_grid(scan, box, bundle, bundle.card.spacing_mm, config, device)
    elif isinstance(net, UNet):
        yield from _in_own_slices(scan, lungs, bundle, net, config, device)
    else:
        raise TrustError(f"{bundle.card.name} is not a U-Net", why=bundle.card.architecture)


def _in_own_slices(
    scan: Scan,
    lungs: Lungs,
    bundle: Bundle,
    net: UNet,
    config: SegmentConfig,
    device: torch.device,
) -> Iterator[tuple[Place, torch.Tensor]]:
    """The same by a network that sees the scan's own voxels."""
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    box = _search_box(scan, lungs, config.region)
    volume = _Volume(scan, box[0], net.context_slices // 2, bundle.card.hu_window, device)
    for batch in _batches(box[0], config.batch_slices):
        rows, columns = _batch_box(scan, lungs, net, config.region, batch)
        stack = volume.stack(batch, rows, columns)
        p_voxel = probability(net, stack, bundle.card, config, device)[:, 0]
        (rows, height), (columns, width) = _overlap(box[1], rows), _overlap(box[2], columns)
        yield (batch, rows, columns), p_voxel[:, height, width]


class _Volume:
    """Stacks of a scan's slices as network input; a GPU gets the scan once."""

    def __init__(
        self,
        scan: Scan,
        slices: slice,
        reach: int,
        hu_window: tuple[int, int],
        device: torch.device,
    ) -> None:
        self._hu, self._window, self._device = scan.hu, hu_window, device
        self._reach, self._depth = reach, scan.hu.shape[0]
        self._resident = None
        if device.type != "cpu":
            # One upload of int16 for the whole scan; the CPU reads the scan where it is.
            self._resident = torch.from_numpy(scan.hu.copy()).to(device)

    def stack(self, batch: slice, rows: slice, columns: slice) -> torch.Tensor:
        """Return HU (N, K, H, W), float32, channels last, of some slices and a box in plane.

        The box may reach beyond the image, up to the alignment of the U-Net: air is there.
        """
        index = np.arange(batch.start - self._reach, batch.stop + self._reach)
        hu = self._slab(index.clip(0, self._depth - 1), rows, columns)
        hu = hu.float().clamp_(*self._window)
        # unfold is a view (N, H, W, K); its permutation already is channels last.
        return hu.unfold(0, 2 * self._reach + 1, 1).contiguous().permute(0, 3, 1, 2)

    def _slab(self, index: NDArray[np.intp], rows: slice, columns: slice) -> torch.Tensor:
        if self._resident is None:
            slab = torch.from_numpy(self._hu[index, rows, columns])
        else:
            slab = self._resident[torch.from_numpy(index).to(self._device), rows, columns]
        beyond = (
            columns.stop - columns.start - slab.shape[2],
            rows.stop - rows.start - slab.shape[1],
        )
        if any(beyond):
            slab = torch.nn.functional.pad(slab, (0, beyond[0], 0, beyond[1]), value=AIR_HU)
        return slab


def _search_box(scan: Scan, lungs: Lungs, region: str) -> Place:
    if region == "lungs":
        return lungs.box()
    i, r, c = scan.shape_irc
    return slice(0, i), slice(0, r), slice(0, c)


def _batches(slices: slice, size: int) -> Iterator[slice]:
    for start in range(slices.start, slices.stop, size):
        yield slice(start, min(start + size, slices.stop))


def _batch_box(scan: Scan, lungs: Lungs, net: UNet, region: str, batch: slice) -> Box:
    """Return the rows and columns to run, aligned so that pooling has the whole slice's grid.

    The margin is the receptive field: inside the lungs' box of these slices the result is
    that of whole slices.
    """
    if region == "lungs":
        rows, columns, margin = *lungs.box_in(batch), net.receptive_margin
    else:
        rows, columns, margin = slice(0, scan.shape_irc[1]), slice(0, scan.shape_irc[2]), 0
    return (
        _align(rows, margin, net.alignment, scan.shape_irc[1]),
        _align(columns, margin, net.alignment, scan.shape_irc[2]),
    )


def _align(span: slice, margin: int, alignment: int, length: int) -> slice:
    step = max(BOX_STEP, alignment)  # both are powers of two
    last = -(-length // alignment) * alignment
    start = max(0, (span.start - margin) // step * step)
    stop = min(last, -(-(span.stop + margin) // step) * step)
    return slice(start, stop)


def _overlap(outer: slice, inner: slice) -> tuple[slice, slice]:
    """The part of `inner` within `outer`, as it is and counted from where `inner` starts."""
    start, stop = max(outer.start, inner.start), min(outer.stop, inner.stop)
    return slice(start, stop), slice(start - inner.start, stop - inner.start)

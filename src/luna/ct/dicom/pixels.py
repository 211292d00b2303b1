"""The pixels of DICOM slices as Hounsfield units.

Source: DICOM PS3.3 C.7.6.3.1 (bits), C.7.5.1.1.2 (padding), C.11.1 (rescale).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from luna.ct.dicom.decode import Words, check_pixels, loss_of, words_of
from luna.ct.dicom.file import read_whole
from luna.ct.dicom.slices import SAME_PLACE_MM, Slice, numbers
from luna.ct.scan import HuArray
from luna.ct.volume import HuBuilder
from luna.run.errors import InputError, naming

TISSUE_HU = (-900.0, 3100.0)
"""A padding value in this range would erase tissue, so it is not used."""

COARSE_BITS = 8
"""With so few bits, neighbouring Hounsfield units are stored as one value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixels:
    """The voxels of a series without its duplicates, and the slices that are left."""

    hu: HuArray
    slices: list[Slice]
    padding_voxels: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stored:
    """One slice as its file has it."""

    words: Words
    dataset: FileDataset
    slope: float
    intercept: float


@dataclass(slots=True)
class _Notes:
    """What is noticed on the way: slices by kind of loss, duplicates, odd padding values."""

    lossy: Counter[str] = field(default_factory=Counter)
    coarse: int = 0
    duplicates: int = 0
    padding: set[str] = field(default_factory=set)

    def warnings(self) -> tuple[str, ...]:
        found = [
            f"Lossy compression ({name}) in {count} slices: their HU are not exactly the scanner's."
            for name, count in sorted(self.lossy.items())
        ]
        if self.coarse:
            found.append(f"{self.coarse} slices have {COARSE_BITS} bits or fewer: coarse HU.")
        if self.duplicates:
            found.append(f"{self.duplicates} identical duplicate slices were left out.")
        return (*found, *sorted(self.padding))


class _Files:
    """Reads files whole and keeps the last, so that a multi-frame file is read once."""

    def __init__(self) -> None:
        self._last: tuple[Slice, FileDataset] | None = None

    def dataset_of(self, item: Slice) -> FileDataset:
        if self._last is None or self._last[0].path != item.path:
            self._last = None  # before the next is read: two would be in memory
            self._last = item, read_whole(item.path)
        check_pixels(item, self._last[1])
        return self._last[1]


def read_pixels(slices: list[Slice], size_irc: tuple[int, int, int]) -> Pixels:
    """Read the HU of slices in order. Identical duplicates are dropped; different ones refused."""
    builder = HuBuilder(size_irc)
    files, notes = _Files(), _Notes()
    kept: list[Slice] = []
    before: _Stored | None = None
    for item in slices:
        stored = _stored(item, files.dataset_of(item))
        if before and item.position_mm - kept[-1].position_mm <= SAME_PLACE_MM:
            _check_same(item, stored, kept[-1], before)
            notes.duplicates += 1
            continue
        _note(stored, notes)
        with naming(item.path):
            builder.put(
                len(kept),
                _values(stored),
                slope=stored.slope,
                intercept=stored.intercept,
                padding=_padding(stored, notes),
            )
        kept.append(item)
        before = stored
    return Pixels(
        hu=builder.finish(len(kept)),
        slices=kept,
        padding_voxels=builder.padding_voxels,
        warnings=notes.warnings(),
    )


def _check_same(item: Slice, stored: _Stored, other: Slice, before: _Stored) -> None:
    rescale = (stored.slope, stored.intercept) == (before.slope, before.intercept)
    if not rescale or not np.array_equal(stored.words, before.words):
        raise InputError(
            "two different slices at one position",
            file=item.path,
            why=f"{other.path.name} is at {item.position_mm:.2f} mm too",
            hint="keep one of the two reconstructions or phases",
        )


def _stored(item: Slice, dataset: FileDataset) -> _Stored:
    slope = float(numbers(item, "RescaleSlope", 1)[0])
    if slope == 0:
        raise InputError("the rescale slope is zero", file=item.path)
    return _Stored(
        words=words_of(item, dataset),
        dataset=dataset,
        slope=slope,
        intercept=float(numbers(item, "RescaleIntercept", 1)[0]),
    )


def _note(stored: _Stored, notes: _Notes) -> None:
    if loss := loss_of(stored.dataset):
        notes.lossy[loss] += 1
    notes.coarse += stored.dataset.BitsStored <= COARSE_BITS


def _values(stored: _Stored) -> NDArray[np.generic]:
    """Return the low `BitsStored` bits of the words, sign-extended where they are signed."""
    bits, unused = stored.dataset.BitsStored, stored.words.itemsize * 8 - stored.dataset.BitsStored
    native = stored.words.astype(stored.words.dtype.newbyteorder("="), copy=False)
    if stored.dataset.PixelRepresentation == 0:
        return np.bitwise_and(native, native.dtype.type((1 << bits) - 1)) if unused else native
    signed = native.view(f"i{native.dtype.itemsize}")
    return (signed << unused) >> unused if unused else signed


def _padding(stored: _Stored, notes: _Notes) -> NDArray[np.bool_] | None:
    """Return the voxels that hold the padding value: its bits are compared, not its sign.

    LIDC-IDRI writes -2000 as the unsigned 63536 into signed images: the same bits.
    """
    value = stored.dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    bits = stored.words.itemsize * 8
    word = value & ((1 << bits) - 1)
    negative = stored.dataset.PixelRepresentation == 1 and word >> (bits - 1)
    hu = (word - (1 << bits) if negative else word) * stored.slope + stored.intercept
    if TISSUE_HU[0] < hu < TISSUE_HU[1]:
        notes.padding.add(
            f"The padding value {value} of the file reads as {hu:g} HU, which is tissue; "
            "it was not taken for padding."
        )
        return None
    return np.asarray(stored.words == word)

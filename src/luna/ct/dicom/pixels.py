"""The pixels of DICOM slices as Hounsfield units.

Source: DICOM PS3.3 C.7.6.3.1 (bits), C.7.5.1.1.2 (padding), C.11.1 (rescale).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from luna.ct.dicom.file import AGAIN, pydicom_faults, read_whole
from luna.ct.dicom.slices import SAME_PLACE_MM, Slice, numbers
from luna.ct.scan import HuArray
from luna.ct.volume import HuBuilder
from luna.run.errors import InputError

TISSUE_HU = (-900.0, 3100.0)
"""A padding value that reads as tissue would erase tissue; it is not believed."""


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

    words: NDArray[np.generic]
    dataset: FileDataset
    slope: float
    intercept: float


def read_pixels(slices: list[Slice], size_irc: tuple[int, int, int]) -> Pixels:
    """HU of slices in order. Identical duplicates are dropped; different ones refused."""
    builder = HuBuilder(size_irc, slices[0].path.parent)
    kept: list[Slice] = []
    notes: set[str] = set()
    before: _Stored | None = None
    for item in slices:
        stored = _stored(item)
        if before and item.position_mm - kept[-1].position_mm <= SAME_PLACE_MM:
            _check_same(item, stored, kept[-1], before)
            continue
        builder.put(
            len(kept),
            _values(stored),
            slope=stored.slope,
            intercept=stored.intercept,
            padding=_padding(stored, notes),
        )
        kept.append(item)
        before = stored
    if len(kept) < len(slices):
        notes.add(f"{len(slices) - len(kept)} identical duplicate slices were left out.")
    return Pixels(
        hu=builder.finish(len(kept)),
        slices=kept,
        padding_voxels=builder.padding_voxels,
        warnings=tuple(sorted(notes)),
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


def _stored(item: Slice) -> _Stored:
    dataset = _dataset(item)
    slope = float(numbers(item, "RescaleSlope", 1)[0])
    if slope == 0:
        raise InputError("the rescale slope is zero", file=item.path)
    return _Stored(
        words=_words(item, dataset),
        dataset=dataset,
        slope=slope,
        intercept=float(numbers(item, "RescaleIntercept", 1)[0]),
    )


def _dataset(item: Slice) -> FileDataset:
    dataset = read_whole(item.path)
    bits = [dataset.get(tag) for tag in ("BitsAllocated", "BitsStored", "HighBit")]
    representation = dataset.get("PixelRepresentation")
    usual = isinstance(bits[1], int) and bits[0] in (8, 16) and 0 < bits[1] <= bits[0]
    if not usual or bits[2] != bits[1] - 1 or representation not in (0, 1):
        raise InputError(
            "the pixels are stored in a way that is not read",
            file=item.path,
            why=f"bits allocated, stored, high: {bits}, representation {representation}",
        )
    return dataset


def _words(item: Slice, dataset: FileDataset) -> NDArray[np.generic]:
    """The stored words (row, column), unsigned, with all their bits."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    data = dataset.get("PixelData")
    if not isinstance(data, bytes):
        raise InputError("the DICOM file has no pixels", file=item.path, hint=AGAIN)
    if not isinstance(syntax, UID) or not syntax.is_transfer_syntax:
        raise InputError("the transfer syntax is not known", file=item.path, why=str(syntax)[:80])
    rows, columns = int(item.header.Rows), int(item.header.Columns)
    kind = np.dtype(f"u{dataset.BitsAllocated // 8}")
    if syntax.is_compressed:
        decoded = _decoded(item, dataset)
        if decoded.shape != (rows, columns) or decoded.dtype.itemsize != kind.itemsize:
            raise InputError("the pixels do not decode to the slice's size", file=item.path)
        return decoded.view(kind)
    expected = rows * columns * kind.itemsize
    if len(data) != expected + expected % 2:  # values have even length (PS3.5 7.1)
        raise InputError(
            "the pixels of the DICOM file have the wrong length",
            file=item.path,
            why=f"{len(data)} bytes, {expected} expected",
            hint=AGAIN,
        )
    stored = np.dtype(kind.newbyteorder("<" if syntax.is_little_endian else ">"))
    return np.frombuffer(data, dtype=stored, count=rows * columns).reshape(rows, columns)


def _decoded(item: Slice, dataset: FileDataset) -> NDArray[np.generic]:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        if not get_decoder(syntax).is_available:
            raise NotImplementedError("no decoder for it is installed")
    except NotImplementedError as error:
        raise InputError(
            f"pixels in {syntax.name} cannot be decoded",
            file=item.path,
            why=str(error),
            hint="install pylibjpeg with its decoders, or store the series uncompressed",
        ) from error
    with pydicom_faults(item.path):
        return np.ascontiguousarray(dataset.pixel_array)


def _values(stored: _Stored) -> NDArray[np.generic]:
    """Stored values: the low `BitsStored` bits, sign-extended where they are signed."""
    bits, unused = stored.dataset.BitsStored, stored.words.itemsize * 8 - stored.dataset.BitsStored
    native = stored.words.astype(stored.words.dtype.newbyteorder("="), copy=False)
    if stored.dataset.PixelRepresentation == 0:
        return native & native.dtype.type((1 << bits) - 1) if unused else native
    signed = native.view(f"i{native.dtype.itemsize}")
    return (signed << unused) >> unused if unused else signed


def _padding(stored: _Stored, notes: set[str]) -> NDArray[np.bool_] | None:
    """Voxels that hold the padding value; the value's bits are compared, not its sign.

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
        notes.add(
            f"The padding value {value} of the file reads as {hu:g} HU, which is tissue; "
            "it was not taken for padding."
        )
        return None
    return np.asarray(stored.words == word)

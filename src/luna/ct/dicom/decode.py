"""Decode the stored words of a slice in any transfer syntax.

SimpleITK (GDCM) decodes every JPEG that CT is stored in, and refuses cut-off streams that
pydicom's optional plug-ins fill up without a word (docs/decisions.md).
Source: DICOM PS3.5, section 8 and annex A.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from luna.ct.dicom.codestream import size_of
from luna.ct.dicom.file import AGAIN, pydicom_faults
from luna.ct.dicom.slices import Slice
from luna.run.errors import InputError
from luna.run.files import private_folder

BY_PYDICOM = (RLELossless, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
"""What pydicom decodes: the first by itself, the others where a plug-in for them is installed.
GDCM reads no HTJ2K, and refuses RLE of very small slices."""

LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
MAYBE_LOSSY = (JPEG2000, HTJ2K)

COPIED_TAGS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)

Words = NDArray[np.generic]


def check_pixels(item: Slice, dataset: FileDataset) -> None:
    """Raise InputError unless luna can read words of this description."""
    bits = [dataset.get(tag) for tag in ("BitsAllocated", "BitsStored", "HighBit")]
    representation = dataset.get("PixelRepresentation")
    usual = isinstance(bits[1], int) and bits[0] in (8, 16) and 0 < bits[1] <= bits[0]
    if not usual or bits[2] != bits[1] - 1 or representation not in (0, 1):
        raise InputError(
            "luna does not read pixels stored in this way",
            file=item.path,
            why=f"bits allocated, stored, high: {bits}, representation {representation}",
        )
    if not isinstance(dataset.get("PixelData"), bytes):
        raise InputError("the DICOM file has no pixels", file=item.path, hint=AGAIN)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not isinstance(syntax, UID) or not syntax.is_transfer_syntax:
        raise InputError("the transfer syntax is not known", file=item.path, why=str(syntax)[:80])


def words_of(item: Slice, dataset: FileDataset) -> Words:
    """Return the stored words (row, column), unsigned, with all their bits."""
    kind = np.dtype(f"u{dataset.BitsAllocated // 8}")
    shape = (int(item.header.Rows), int(item.header.Columns))
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return _uncompressed(item, dataset, shape, kind)
    decoded = _by_pydicom(item, dataset) if syntax in BY_PYDICOM else _by_itk(item, dataset)
    if decoded.shape != shape or decoded.dtype.itemsize != kind.itemsize:
        raise InputError("the pixels do not decode to the slice's size", file=item.path)
    return np.ascontiguousarray(decoded).view(kind)


def loss_of(dataset: FileDataset) -> str:
    """Return the name of the syntax, if the slice was compressed with loss; else nothing."""
    syntax = dataset.file_meta.TransferSyntaxUID
    stated = str(dataset.get("LossyImageCompression", ""))
    if syntax in LOSSY or stated == "01" or (syntax in MAYBE_LOSSY and stated != "00"):
        return str(syntax.name)
    return ""


def _uncompressed(
    item: Slice, dataset: FileDataset, shape: tuple[int, int], kind: np.dtype[np.generic]
) -> Words:
    """Return the words of one frame; what follows the last is padding, if less than a row."""
    count, row_bytes = shape[0] * shape[1], shape[1] * kind.itemsize
    expected = item.frames * count * kind.itemsize
    spare = len(dataset.PixelData) - expected
    if not 0 <= spare <= max(row_bytes - 1, 1):
        raise InputError(
            "the pixels of the DICOM file have the wrong length",
            file=item.path,
            why=f"{len(dataset.PixelData)} bytes, {expected} expected",
            hint=AGAIN,
        )
    stored = np.dtype(
        kind.newbyteorder("<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">")
    )
    start = item.frame * count * kind.itemsize
    return np.frombuffer(dataset.PixelData, stored, count, start).reshape(shape)


def _by_itk(item: Slice, dataset: FileDataset) -> Words:
    """Decode one frame through a file that holds its pixels and nothing of the patient."""
    with pydicom_faults(item.path):
        stream = get_frame(dataset.PixelData, item.frame, number_of_frames=item.frames)
        _check_size(item, stream)
        bare = _without_header(item, dataset, stream)
    with private_folder() as folder:
        path = Path(folder, "slice.dcm")
        bare.save_as(path, enforce_file_format=True)
        import SimpleITK as sitk  # slow to load, and few files need it

        reader: Any = sitk.ImageFileReader()  # type: ignore[no-untyped-call]
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise InputError(
                f"pixels in {dataset.file_meta.TransferSyntaxUID.name} cannot be decoded",
                file=item.path,
                why="they are damaged, or use a part of the syntax that luna does not read",
                hint=f"{AGAIN}, or store the series uncompressed",
            ) from error
        return np.squeeze(sitk.GetArrayFromImage(image), axis=0)


def _check_size(item: Slice, stream: bytes) -> None:
    wanted, found = (int(item.header.Rows), int(item.header.Columns)), size_of(stream)
    if found != wanted:
        raise InputError(
            "the pixels do not decode to the slice's size",
            file=item.path,
            why=f"the stream has {found or 'no size'}, the header {wanted}",
            hint=AGAIN,
        )


def _without_header(item: Slice, dataset: FileDataset, stream: bytes) -> Dataset:
    bare = Dataset()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.SOPClassUID = SecondaryCaptureImageStorage
    bare.SOPInstanceUID = "2.25.1"
    bare.SamplesPerPixel, bare.PhotometricInterpretation = 1, "MONOCHROME2"
    for tag in COPIED_TAGS:
        source = item.header if tag in item.header else dataset
        setattr(bare, tag, int(source[tag].value))
    bare.PixelData = encapsulate([stream])
    bare["PixelData"].VR, bare["PixelData"].is_undefined_length = "OB", True
    return bare


def _by_pydicom(item: Slice, dataset: FileDataset) -> Words:
    syntax = dataset.file_meta.TransferSyntaxUID
    decoder = get_decoder(syntax)
    if not decoder.is_available:
        raise InputError(
            f"pixels in {syntax.name} cannot be decoded",
            file=item.path,
            why="no decoder for it is installed",
            hint="install pylibjpeg and pylibjpeg-openjpeg, or store the series uncompressed",
        )
    with pydicom_faults(item.path):
        return np.asarray(decoder.as_array(dataset, index=item.frame, raw=True)[0])

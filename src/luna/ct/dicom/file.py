"""One DICOM file: whether it is one, its header and its pixels, without pydicom's own errors.

Messages do not quote what pydicom says of a damaged file, because it quotes the file, and
with it perhaps a name. Source: DICOM PS3.10.
"""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.config import IGNORE
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_file_meta_info, read_partial
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from luna.ct.dicom.tags import HEADER_TAGS, PIXEL_TAGS, text_of
from luna.run.errors import InputError, LunaError

MAGIC_OFFSET, MAGIC = 128, b"DICM"
START_BYTES = 4096
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NO_SUFFIX = re.compile(r"(\.\d+)?")
"""Files of a series often have none; of a UID for a name, the last number looks like one."""

BARE_STARTS = (b"\x02\0", b"\x08\0", b"\0\x08")
"""The group of the first element of a file without preamble; the last is big endian."""
VALUE_KINDS = (b"UL", b"OB", b"UI", b"CS", b"DA", b"TM", b"SH", b"LO")
FIRST_VALUE_BYTES_MAX = 256

MAX_FILE_BYTES = 1 << 33
"""Twice the largest volume: what is longer has no end worth waiting for."""
MAX_INFLATED_BYTES = 1 << 28
"""What a deflated file may unpack to: eight times the largest slice, or 512 common ones."""

PIXEL_DATA = range(0x7FE00008, 0x7FE00011)
"""Float, double and integer pixels."""

HEADER_TAG_NUMBERS: list[BaseTag | int] = [Tag(keyword) for keyword in HEADER_TAGS]

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = (f"{CT_IMAGE}.1", f"{CT_IMAGE}.2")
"""Multi-frame CT, as scanners write it and as converted from single frames."""

AGAIN = "copy or download the file again"


def is_dicom(path: Path) -> bool:
    """Return whether a file starts as PS3.10 says, or with a header but no preamble.

    Raises InputError when only its name says DICOM, and when its meta information is damaged.
    """
    with path.open("rb") as stream:
        start = stream.read(START_BYTES)
    if has_mark(start):
        with pydicom_faults(path):
            read_file_meta_info(path)
        return True
    if _is_bare(start):
        return True
    suffix = path.suffix.lower()
    cut_off = not start.strip(b"\0") or (bytes(MAGIC_OFFSET) + MAGIC).startswith(start)
    if suffix in DICOM_SUFFIXES or (cut_off and NO_SUFFIX.fullmatch(suffix)):
        raise InputError(
            "the file should be DICOM but is not",
            file=path,
            why="empty or cut off" if cut_off else "it has no DICM mark",
            hint=AGAIN,
        )
    return False


def has_mark(start: bytes) -> bool:
    """Return whether a file that starts so has the preamble and the mark of PS3.10."""
    return start[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] == MAGIC


def _is_bare(start: bytes) -> bool:
    """Return whether a file begins with its first element, as files from before PS3.10 do."""
    if start[:2] not in BARE_STARTS or len(start) < START_BYTES // 16:
        return False
    if start[4:6] in VALUE_KINDS:
        return True
    size = int.from_bytes(start[4:8], "little")
    return start[:1] != b"\0" and size % 2 == 0 and size <= FIRST_VALUE_BYTES_MAX


def read_header(path: Path) -> FileDataset:
    """Read HEADER_TAGS of one file, decoded. Raises InputError when it is damaged or cut off."""
    with pydicom_faults(path), _plain(path) as stream:
        header = read_partial(
            stream, stop_when=_after_header, force=True, specific_tags=HEADER_TAG_NUMBERS
        )
        ended = not stream.read(1)
        for element in header:  # decode now, so that a bad value is this file's fault
            str(element.value)
        if _is_cut_off(header, ended):
            raise InputError("the DICOM file is cut off", file=path, hint=AGAIN)
    return header


def read_but_pixels(path: Path) -> FileDataset:
    """Read all of one file but its pixels; nothing is decoded. Raises InputError."""
    with pydicom_faults(path), _plain(path) as stream:
        return read_partial(stream, stop_when=_after_header, force=True)


def read_whole(path: Path) -> FileDataset:
    """Read one file with its pixels, PIXEL_TAGS decoded. Raises InputError."""
    with pydicom_faults(path), _plain(path) as stream:
        dataset = read_partial(stream, force=True)
        for tag in PIXEL_TAGS:
            dataset.get(tag)
        if not dataset.file_meta.get("TransferSyntaxUID") and not dataset.preamble:
            dataset.file_meta.TransferSyntaxUID = _bare_syntax(dataset)
    return dataset


@contextmanager
def pydicom_faults(path: Path) -> Iterator[None]:
    """Drop pydicom's warnings and turn its errors into InputError.

    It warns of odd values in tags that are not used here; those that are used are checked.
    What it raises on damaged bytes has no common base and comes from every layer (struct,
    codecs, its own classes), a MemoryError for an absurd length among them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (LunaError, PermissionError):
        raise
    except Exception as error:
        raise InputError(
            "the DICOM file is damaged", file=path, why=type(error).__name__, hint=AGAIN
        ) from error


@contextmanager
def _plain(path: Path) -> Iterator[BinaryIO]:
    """Open a file, inflated where it is deflated, and no larger than a scan can be."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InputError("the file is larger than any scan", file=path, why=f"{size:,} bytes")
    with path.open("rb") as stream:
        marked = has_mark(stream.read(START_BYTES))
        meta = read_file_meta_info(path) if marked else FileMetaDataset()
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            yield _inflated(path, stream, meta)
        else:
            stream.seek(0)
            yield stream


def _inflated(path: Path, stream: BinaryIO, meta: FileMetaDataset) -> BinaryIO:
    """Return the same file in the syntax that it has once inflated (PS3.5, A.5)."""
    stream.seek(_end_of_meta(path))
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflate.decompress(stream.read(), MAX_INFLATED_BYTES)
    if len(data) >= MAX_INFLATED_BYTES:
        raise InputError(
            "the deflated DICOM file unpacks to an implausible size",
            file=path,
            why=f"more than {MAX_INFLATED_BYTES:,} bytes",
            hint="store it uncompressed",
        )
    if not inflate.eof:
        raise InputError("the DICOM file is cut off", file=path, hint=AGAIN)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = DicomBytesIO()
    out.write(bytes(MAGIC_OFFSET) + MAGIC)
    write_file_meta_info(out, meta, enforce_standard=False)
    out.write(data)
    out.seek(0)
    return cast("BinaryIO", out)


def _end_of_meta(path: Path) -> int:
    """Return where the data set begins: after the last element of group 2."""
    with path.open("rb") as stream:
        stream.seek(MAGIC_OFFSET + len(MAGIC))
        read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        return stream.tell()


def _after_header(tag: int, vr: str | None, length: int) -> bool:
    """Stop at the pixels, and at zeros, which go on to the end of a file that was padded."""
    return tag in PIXEL_DATA or tag == 0


def _bare_syntax(dataset: FileDataset) -> UID:
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _is_cut_off(header: FileDataset, ended: bool) -> bool:
    """Return whether a file ends before what every image of a CT must have.

    pydicom takes the end of a file for the end of the object, wherever it comes, so half a
    series UID would be a series of its own.
    """
    if _is_no_image(header):
        return False
    if not text_of(header, "Modality") or not text_of(header, "SeriesInstanceUID"):
        return True
    return ended and text_of(header, "Modality") == "CT" and sop_class(header) == CT_IMAGE


def sop_class(header: FileDataset) -> str:
    """Return the class of an object: its own tag where that is a known class, or the file's.

    Anonymisers put a UID of their own into the first and forget the second.
    """
    own = text_of(header, "SOPClassUID")
    meta = text_of(header.file_meta, "MediaStorageSOPClassUID")
    return next((uid for uid in (own, meta) if _is_known(uid)), own or CT_IMAGE)


def _is_known(uid: str) -> bool:
    return _name_of(uid) not in ("", uid)


def _name_of(uid: str) -> str:
    """Return the name of a UID in the standard, or the UID itself."""
    return str(UID(uid, validation_mode=IGNORE).name)


def _is_no_image(header: FileDataset) -> bool:
    """Return whether the object may be without a series: a directory, a palette, a protocol."""
    uid = sop_class(header)
    return _is_known(uid) and "Image" not in _name_of(uid)

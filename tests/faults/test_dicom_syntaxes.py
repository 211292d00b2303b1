"""Every transfer syntax that CT is stored in: decoded to the same numbers, or refused."""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from luna.ct.read import read_scan

from .test_read_dicom import UID as SERIES
from .test_read_dicom import refused, slice_of

SIZE_IRC = (3, 48, 40)
Encode = Callable[[FileDataset], None]


def hu() -> np.ndarray:
    """Smooth tissue with noise and air around it: what a lossy codec is made for."""
    i, r, c = np.mgrid[: SIZE_IRC[0], : SIZE_IRC[1], : SIZE_IRC[2]]
    body = np.where((r - 24) ** 2 + (c - 20) ** 2 < 250, 40 + 10 * i, -1000)
    return (body + np.random.default_rng(0).integers(-8, 8, SIZE_IRC)).astype(np.int16)


def series(folder: Path, encode: Encode, bits: int = 16, signed: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    for index in range(SIZE_IRC[0]):
        ds = slice_of(index)
        ds.Rows, ds.Columns = SIZE_IRC[1:]
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, int(signed)
        ds.RescaleIntercept = 0 if signed else -1024
        words = hu()[index] + (0 if signed else 1024)
        ds.PixelData = words.astype("<i2").tobytes()
        encode(ds)
        ds.save_as(folder / f"{index}.dcm")
    return folder


def stored(ds: FileDataset, syntax: UID, stream: bytes) -> None:
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True


def by_gdcm(ds: FileDataset, syntax: UID) -> None:
    """JPEG lossless with the first predictor: both of its syntaxes may hold it."""
    words = ds.pixel_array
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "jpeg.dcm")
        writer.SetFileName(str(whole))
        writer.Execute(sitk.GetImageFromArray(words[None]))
        encapsulated = pydicom.dcmread(whole).PixelData
    stored(ds, syntax, next(generate_frames(encapsulated, number_of_frames=1)))


def grey_jpeg(ds: FileDataset, syntax: UID) -> None:
    """Eight bits, as old exports have them: steps of eight HU."""
    grey = np.clip(ds.pixel_array / 8, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "JPEG", quality=98)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.RescaleSlope = 8, 8, 7, 8
    stored(ds, syntax, out.getvalue())


def compressed(syntax: UID, **options: object) -> Encode:
    return lambda ds: ds.compress(syntax, **options)


LOSSLESS: dict[UID, Encode] = {
    RLELossless: compressed(RLELossless),
    JPEG2000Lossless: compressed(JPEG2000Lossless),
    JPEGLSLossless: compressed(JPEGLSLossless),
    JPEGLosslessSV1: lambda ds: by_gdcm(ds, JPEGLosslessSV1),
    JPEGLossless: lambda ds: by_gdcm(ds, JPEGLossless),
}
LOSSY: dict[UID, tuple[Encode, int]] = {
    JPEG2000: (compressed(JPEG2000, j2k_cr=[2]), 20),
    JPEGLSNearLossless: (compressed(JPEGLSNearLossless, jls_error=2), 2),
    JPEGBaseline8Bit: (lambda ds: grey_jpeg(ds, JPEGBaseline8Bit), 60),
    JPEGExtended12Bit: (lambda ds: grey_jpeg(ds, JPEGExtended12Bit), 60),
}
"""How each is made, and how far, in HU, the loss may go."""


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.keyword)
def test_lossless_syntaxes_are_read_exactly(
    tmp_path: Path, syntax: UID, bits: int, signed: bool
) -> None:
    scan = read_scan(series(tmp_path / "scan", LOSSLESS[syntax], bits, signed))
    np.testing.assert_array_equal(scan.hu, hu())
    assert scan.provenance.warnings == ()


@pytest.mark.parametrize("syntax", LOSSY, ids=lambda uid: uid.keyword)
def test_lossy_syntaxes_are_read_with_a_warning(tmp_path: Path, syntax: UID) -> None:
    encode, limit_hu = LOSSY[syntax]
    scan = read_scan(series(tmp_path / "scan", encode))
    assert 0 < np.abs(scan.hu - hu()).max() <= limit_hu
    assert f"Lossy compression ({syntax.name}) in 3 slices" in scan.provenance.warnings[0]


def test_what_was_lossy_before_is_said(tmp_path: Path) -> None:
    def change(ds: FileDataset) -> None:
        ds.LossyImageCompression = "01"

    scan = read_scan(series(tmp_path / "scan", change))
    assert "Lossy" in scan.provenance.warnings[0]


def deflated(ds: FileDataset) -> None:
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
    ids=lambda uid: uid.keyword,
)
def test_uncompressed_syntaxes_are_read_exactly(tmp_path: Path, syntax: UID) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    for index in range(SIZE_IRC[0]):
        ds = slice_of(index)
        ds.Rows, ds.Columns = SIZE_IRC[1:]
        words = (hu()[index] + 1024).astype(">u2" if syntax == ExplicitVRBigEndian else "<u2")
        ds.PixelData, ds.file_meta.TransferSyntaxUID = words.tobytes(), syntax
        ds["PixelData"].VR = "OW"
        pydicom.dcmwrite(
            folder / f"{index}.dcm",
            ds,
            little_endian=syntax != ExplicitVRBigEndian,
            implicit_vr=syntax == ImplicitVRLittleEndian,
        )
    np.testing.assert_array_equal(read_scan(folder).hu, hu())


@pytest.mark.parametrize("syntax", [HTJ2K, HTJ2KLossless, MPEG2MPML, UID("1.2.3.4")], ids=str)
def test_what_no_decoder_here_knows_is_refused(tmp_path: Path, syntax: UID) -> None:
    assert refused(series(tmp_path / "scan", lambda ds: stored(ds, syntax, bytes(100))))


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_a_stream_that_is_cut_off_is_refused_by_name(
    tmp_path: Path, syntax: UID, part: float
) -> None:
    folder = series(tmp_path / "scan", LOSSLESS[syntax])
    ds = pydicom.dcmread(folder / "1.dcm")
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    stored(ds, syntax, frame[: int(part * len(frame))])
    ds.save_as(folder / "1.dcm")
    assert "1.dcm" in refused(folder)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1], ids=str)
def test_a_stream_of_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path, syntax: UID
) -> None:
    """A decoder would make room for 30,000 × 30,000 pixels."""
    folder = series(tmp_path / "scan", LOSSLESS[syntax])
    ds = pydicom.dcmread(folder / "1.dcm")
    frame = bytearray(next(generate_frames(ds.PixelData, number_of_frames=1)))
    if syntax == JPEG2000Lossless:
        size = frame.index(b"\xff\x51") + 6
        frame[size : size + 8] = (30_000).to_bytes(4, "big") * 2
    else:
        size = frame.index(b"".join(n.to_bytes(2, "big") for n in SIZE_IRC[1:]))
        frame[size : size + 4] = (30_000).to_bytes(2, "big") * 2
    stored(ds, syntax, bytes(frame))
    ds.save_as(folder / "1.dcm")
    message = refused(folder)
    assert "1.dcm" in message
    assert "30000" in message


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path) -> None:
    folder = series(tmp_path / "scan", deflated)
    path = folder / "1.dcm"
    whole = path.read_bytes()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = b"\x08\0\x60\0CS\x02\0CT"
    bomb = deflate.compress(data) + b"".join(deflate.compress(bytes(1 << 24)) for _ in range(20))
    start = whole.index(b"1.2.840.10008.1.2.1.99")
    path.write_bytes(whole[: start + 22] + bomb + deflate.flush())
    message = refused(folder)
    assert "1.dcm" in message


def test_deflated_behind_a_long_header(tmp_path: Path) -> None:
    def encode(ds: FileDataset) -> None:
        ds.file_meta.FileMetaInformationVersion = bytes(1 << 14)
        deflated(ds)

    np.testing.assert_array_equal(read_scan(series(tmp_path / "scan", encode)).hu, hu())


def test_a_deflated_file_that_is_cut_off(tmp_path: Path) -> None:
    folder = series(tmp_path / "scan", deflated)
    whole = (folder / "1.dcm").read_bytes()
    for size in range(len(whole) - 1, 400, -211):
        (folder / "1.dcm").write_bytes(whole[:size])
        assert "1.dcm" in refused(folder)


def test_the_series_is_the_same_whatever_its_syntax(tmp_path: Path) -> None:
    one = read_scan(series(tmp_path / "a", LOSSLESS[JPEGLSLossless]))
    other = read_scan(series(tmp_path / "b", deflated))
    assert one.fingerprint() == other.fingerprint()
    assert one.series_uid == SERIES

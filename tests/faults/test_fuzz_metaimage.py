"""MetaImage headers bent at random: read as ITK reads them, or refused."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.ct.volume import MIN_HU

from .fuzzing import Rows, fuzzed, fuzzed_at_length, mutants, result_or_refusal
from .test_read_metaimage import FIELDS, hu

HEADER: Rows = [[key, *value.split()] for key, value in FIELDS.items()]
WORDS = (
    *FIELDS,
    *("Position", "Origin", "Rotation", "Orientation", "ElementByteOrderMSB", "HeaderSize"),
    *("ElementSize", "ElementNumberOfChannels", "Modality", "DistanceUnits", "CompressedDataSize"),
    *("Comment", "Name", "ID", "elementspacing", "ITK_note", "0010|0010", "MET_MOD_CT", "mm"),
    *("MET_CHAR", "MET_UCHAR", "MET_USHORT", "MET_INT", "MET_FLOAT", "MET_DOUBLE", "MET_OTHER"),
    *("LIST", "LOCAL", "Local", "a.raw", "a.zraw", "./a.raw", "a%03d.raw", "a.mhd", "Image", "RAI"),
)


MEANT = {
    *("ObjectType", "NDims", "DimSize", "ElementSpacing", "ElementType"),
    *("BinaryData", "CompressedData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB"),
    *("TransformMatrix", "Rotation", "Orientation", "Offset", "Position", "Origin"),
}
"""Keys that say how voxels are read or where they lie; ITK stumbles over some of the others."""


def join(rows: Rows) -> str:
    return "".join(f"{row[0]} = {' '.join(row[1:])}\n" if row else "\n" for row in rows)


headers = mutants(HEADER, join, WORDS)
mha_headers = mutants([*HEADER[:-1], ["ElementDataFile", "LOCAL"]], join, WORDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data that headers name, raw and compressed."""
    made = tmp_path_factory.mktemp("bent")
    (made / "a.raw").write_bytes(hu().tobytes())
    (made / "a.zraw").write_bytes(zlib.compress(hu().tobytes()))
    return made


def judge(path: Path) -> None:
    """Read or refused; what is read is what ITK reads."""
    scan = result_or_refusal(lambda: read_scan(path), path.parent, codes=(3,))
    if scan is not None:
        assert_as_itk(path, scan)


def in_itks_order(path: Path) -> Path:
    """The same header in the order that ITK wants; it is read as LF, UTF-8 and binary data."""
    header, mark, rest = path.read_bytes().partition(b"ElementDataFile")
    name, _, data = rest.partition(b"\n")
    pairs = [line.partition("=") for line in header.decode("utf-8").split("\n") if line.strip()]
    fields = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True"}
    fields |= {k.strip(): " ".join(v.split()) for k, _, v in pairs if k.strip() in MEANT}
    made = path.with_name(f"ordered{path.suffix}")
    lines = "".join(f"{key} = {value}\n" for key, value in fields.items())
    made.write_bytes(lines.encode() + mark + name.rstrip() + b"\n" + data)
    return made


def assert_as_itk(path: Path, scan: Scan) -> None:
    image = sitk.DICOMOrient(sitk.ReadImage(str(in_itks_order(path))), "LPS")
    raised = np.maximum(np.rint(sitk.GetArrayViewFromImage(image)), MIN_HU)
    np.testing.assert_array_equal(scan.hu, raised)
    found = scan.geometry
    np.testing.assert_allclose(found.spacing_xyz, image.GetSpacing(), rtol=1e-12)
    np.testing.assert_allclose(found.origin_xyz, image.GetOrigin(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.direction, image.GetDirection(), atol=1e-12)


def judge_header(folder: Path, header: bytes) -> None:
    path = folder / "a.mhd"
    path.write_bytes(header)
    judge(path)


def judge_mha(folder: Path, header: bytes, data: bytes) -> None:
    path = folder / "a.mha"
    path.write_bytes(header + data)
    judge(path)


DATA = st.sampled_from([hu().tobytes(), zlib.compress(hu().tobytes()), b"", b"\0" * 7])


@fuzzed(250)
@given(header=headers)
def test_any_header_is_read_as_itk_does_or_refused(folder: Path, header: bytes) -> None:
    judge_header(folder, header)


@fuzzed(100)
@given(header=mha_headers, data=DATA)
def test_any_header_before_its_data(folder: Path, header: bytes, data: bytes) -> None:
    judge_mha(folder, header, data)


@pytest.mark.slow
@fuzzed_at_length(5_000)
@given(header=headers)
def test_many_headers(folder: Path, header: bytes) -> None:
    judge_header(folder, header)


@pytest.mark.slow
@fuzzed_at_length(2_000)
@given(header=mha_headers, data=DATA)
def test_many_headers_before_their_data(folder: Path, header: bytes, data: bytes) -> None:
    judge_mha(folder, header, data)

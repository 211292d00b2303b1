"""Damaged and planted MetaImage files: each refused with its reason, or read right."""

import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luna.ct.formats.metaimage import read_header
from luna.ct.read import read_scan
from luna.run.errors import InputError

from . import refusals

SIZE_IRC = (4, 6, 8)
FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-100 -90.5 20",
    "CenterOfRotation": "0 0 0",
    "AnatomicalOrientation": "RAI",
    "ElementSpacing": "0.7 0.7 1.25",
    "DimSize": "8 6 4",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "a.raw",
}
Writer = Callable[..., Path]


def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, SIZE_IRC).astype("<i2")


def header_text(newline: str = "\n", **changes: str | None) -> str:
    fields = {**FIELDS, **changes}
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # it is the last line
    return newline.join(f"{k} = {v}" for k, v in fields.items() if v is not None) + newline


def write(folder: Path, data: bytes | None = None, **changes: str | None) -> Path:
    path = folder / "a.mhd"
    path.write_text(header_text(**changes), newline="")
    (folder / "a.raw").write_bytes(hu().tobytes() if data is None else data)
    return path


def write_zraw(folder: Path, packed: bytes) -> Path:
    return write(folder, packed, CompressedData="True")


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_scan(path)
    refusals.seen.append(path)
    assert caught.value.exit_code == 3
    assert caught.value.file is not None
    assert Path(caught.value.file).is_relative_to(path.parent)  # this one, or the data beside it
    return f"{caught.value.what} {caught.value.why}"


def test_good_file_is_good(tmp_path: Path) -> None:
    scan = read_scan(write(tmp_path))
    np.testing.assert_array_equal(scan.hu, hu())
    assert scan.provenance.warnings == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DimSize": "0 6 4"}, "DimSize"),
        ({"DimSize": "-8 6 4"}, "DimSize"),
        ({"DimSize": "8 6"}, "DimSize"),
        ({"DimSize": "8.0 6 4"}, "whole number"),
        ({"DimSize": "100000 100000 100000"}, "larger than any CT"),
        ({"DimSize": "8 6 5"}, "wrong length"),
        ({"DimSize": "8 6 3"}, "wrong length"),
        ({"NDims": "2", "DimSize": "8 24", "ElementSpacing": "1 1"}, "not 3-D"),
        ({"NDims": "4", "DimSize": "8 6 4 1", "ElementSpacing": "1 1 1 1"}, "not 3-D"),
        ({"NDims": None}, "no NDims"),
        ({"ElementNumberOfChannels": "3"}, "ElementNumberOfChannels"),
        ({"ElementSpacing": None}, "no ElementSpacing"),
        ({"ElementSpacing": "0 0.7 1.25"}, "not plausible"),
        ({"ElementSpacing": "-0.7 0.7 1.25"}, "not plausible"),
        ({"ElementSpacing": "nan 0.7 1.25"}, "not a number"),
        ({"ElementSpacing": "inf 0.7 1.25"}, "not a number"),
        ({"ElementSpacing": "fine 0.7 1.25"}, "not a number"),
        ({"ElementSpacing": "0,7 0,7 1,25"}, "not a number"),
        ({"ElementSpacing": "0.0007 0.0007 0.00125"}, "not plausible"),
        ({"ElementSpacing": "0.7 0.7"}, "not plausible"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 0"}, "orthonormal"),
        ({"TransformMatrix": "1 0 0 0 1 0 1 0 1"}, "orthonormal"),
        ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "orthonormal"),
        ({"TransformMatrix": "1 0 0 0 1 0"}, "9 numbers"),
        ({"Orientation": "1 0 0 0 1 0 0 0 1"}, "one thing twice"),
        ({"Offset": "0 0"}, "3 numbers"),
        ({"ElementType": "MET_STRING"}, "type"),
        ({"ElementType": "MET_USHORT_ARRAY"}, "type"),
        ({"ElementType": None}, "no ElementType"),
        ({"ObjectType": "Mesh"}, "ObjectType"),
        ({"Modality": "MET_MOD_MR"}, "not a CT"),
        ({"DistanceUnits": "cm"}, "millimetres"),
        ({"HeaderSize": "100"}, "wrong length"),
        ({"HeaderSize": "-2"}, "passed over"),
        ({"HeaderSize": "1 2"}, "passed over"),
        ({"HeaderSize": "-1", "CompressedData": "True"}, "passed over"),
        ({"BinaryData": "False"}, "not a number"),
        ({"BinaryData": "False", "CompressedData": "True"}, "text and compressed"),
        ({"AnatomicalOrientation": "LAI", "TransformMatrix": None}, "no matrix"),
        ({"BinaryDataByteOrderMSB": "maybe"}, "True or False"),
        ({"TransfromMatrix": "1 0 0 0 1 0 0 0 1"}, "not understood"),
        ({"ElementDataFile": "b.raw"}, "missing"),
        ({"ElementDataFile": "LIST"}, "LIST"),
        ({"ElementDataFile": "LIST 2"}, "LIST"),
        ({"ElementDataFile": "/dev/zero"}, "plain file name"),
        ({"ElementDataFile": "../a.raw"}, "plain file name"),
        ({"ElementDataFile": ".."}, "plain file name"),
        ({"ElementDataFile": "sub/a.raw"}, "missing"),
        ({"ElementDataFile": "sub/../../a.raw"}, "plain file name"),
        ({"ElementDataFile": "a.raw/a.raw"}, "missing"),
        ({"DimSize": "4097 1 1"}, "larger than any"),
        ({"DimSize": "1 4097 1"}, "larger than any"),
        ({"ElementDataFile": "..\\a.raw"}, "plain file name"),
        ({"ElementDataFile": "%s%s%s%n.raw"}, "plain file name"),
        ({"ElementDataFile": "a%03d.raw 0 3 1"}, "plain file name"),
        ({"ElementDataFile": ""}, "no ElementDataFile"),
        ({"ElementDataFile": None}, "no ElementDataFile"),
    ],
    ids=str,
)
def test_bad_header(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    assert message in refused(write(tmp_path, **changes))


@pytest.mark.parametrize("change", [-300, -2, -1, 1, 2, 1000], ids=str)
def test_raw_of_wrong_length(tmp_path: Path, change: int) -> None:
    data = hu().tobytes() + bytes(1000)
    assert "wrong length" in refused(write(tmp_path, data[: hu().nbytes + change]))


def test_raw_empty(tmp_path: Path) -> None:
    assert "wrong length" in refused(write(tmp_path, b""))


PACKED = zlib.compress(hu().tobytes())


@pytest.mark.parametrize(
    "packed",
    [
        PACKED[:-1],
        PACKED[:-4],
        PACKED[: len(PACKED) // 2],
        PACKED[:1],
        PACKED + b"\0",
        PACKED + PACKED,
        zlib.compress(hu().tobytes()[:-2]),
        zlib.compress(hu().tobytes() + b"\0\0"),
        zlib.compress(b""),
        b"",
        np.random.default_rng(1).bytes(300),
        hu().tobytes(),
        zlib.compress(bytes(50_000_000)),
    ],
    ids=[
        "no end",
        "no checksum",
        "half",
        "a byte",
        "tail",
        "twice",
        "short",
        "long",
        "nothing",
        "empty",
        "noise",
        "raw",
        "bomb",
    ],
)
def test_damaged_zraw(tmp_path: Path, packed: bytes) -> None:
    assert refused(write_zraw(tmp_path, packed))


def test_every_flipped_bit_of_a_zraw_is_noticed(tmp_path: Path) -> None:
    for byte in range(len(PACKED)):
        bent = bytearray(PACKED)
        bent[byte] ^= 1 << (byte % 8)
        try:
            scan = read_scan(write_zraw(tmp_path, bytes(bent)))
        except InputError:
            continue
        # Two bits of the zlib header only say how hard the compressor tried.
        np.testing.assert_array_equal(scan.hu, hu())


def test_bomb_with_a_header_to_match_is_refused_unread(tmp_path: Path) -> None:
    path = write_zraw(tmp_path, zlib.compress(bytes(100_000)))
    path.write_text(header_text(CompressedData="True", DimSize="2048 1024 1024"))
    assert "too short" in refused(path)


def test_data_through_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(hu().tobytes())
    inner = tmp_path / "scan"
    inner.mkdir()
    path = write(inner)
    (inner / "a.raw").unlink()
    (inner / "a.raw").symlink_to(tmp_path / "secret")
    assert "leaves the folder" in refused(path)


def test_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "a.raw").rename(tmp_path / "b.raw")
    (tmp_path / "a.raw").symlink_to("b.raw")
    np.testing.assert_array_equal(read_scan(path).hu, hu())


def test_fifo_and_folder_as_data(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "a.raw").unlink()
    os.mkfifo(tmp_path / "a.raw")
    assert "not a regular file" in refused(path)
    (tmp_path / "a.raw").unlink()
    (tmp_path / "a.raw").mkdir()
    assert "not a regular file" in refused(path)


def test_fifo_as_header(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mhd")
    assert "not a plain file" in refused(tmp_path / "a.mhd")


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"<!DOCTYPE html>\n<html lang=en><body>404</body></html>\n",
        bytes(range(256)) * 8,
        b"ObjectType = Image\n" + b"x" * 1_000_000,
        b"Comment = " + b"x" * 1_000_000 + b"\nElementDataFile = a.raw\n",
        b"ObjectType = Image\nObjectType = Image\n",
        b"\0" * 5000,
        b"\n" * 100_000,
    ],
    ids=["empty", "html", "binary", "long line", "long comment", "twice", "zeros", "blank"],
)
def test_header_that_is_none(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "a.mhd"
    path.write_bytes(start)
    assert refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_numbers_that_are_not_finite(tmp_path: Path, value: float) -> None:
    voxels = hu().astype("<f4")
    voxels[2, 3, 4] = value
    message = refused(write(tmp_path, voxels.tobytes(), ElementType="MET_FLOAT"))
    assert "not finite" in message
    assert "slice 2" in message


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.abs(hu()), "MET_SHORT"),
        ((hu() + 1024).astype("<u2"), "MET_USHORT"),
        (np.full(SIZE_IRC, -1000, "<i2"), "MET_SHORT"),
        (np.zeros(SIZE_IRC, "<i2"), "MET_SHORT"),
        (hu().astype("<u2"), "MET_USHORT"),
        (hu().astype("<f4") * 1e6, "MET_FLOAT"),
        (hu().astype("<f8") * 1e300, "MET_DOUBLE"),
        (hu().astype("<f4") / 1000, "MET_FLOAT"),
        (hu().astype(">i2"), "MET_SHORT"),
        (hu() - 1024, "MET_SHORT"),
    ],
    ids=[
        "positive",
        "unsigned",
        "constant",
        "zero",
        "wrapped",
        "absurd",
        "huge",
        "scaled",
        "byte order",
        "rescaled twice",
    ],
)
def test_values_that_are_no_hounsfield_units(tmp_path: Path, values: np.ndarray, kind: str) -> None:
    assert "Hounsfield" in refused(write(tmp_path, values.tobytes(), ElementType=kind))


def test_byte_order_is_obeyed(tmp_path: Path) -> None:
    path = write(tmp_path, hu().astype(">i2").tobytes(), BinaryDataByteOrderMSB="True")
    np.testing.assert_array_equal(read_scan(path).hu, hu())


@pytest.mark.parametrize("padding", [-2000, -2048, -3024, -32768])
def test_padding_is_raised_and_counted(tmp_path: Path, padding: int) -> None:
    voxels = hu()
    voxels[:, :2] = padding
    scan = read_scan(write(tmp_path, voxels.tobytes()))
    assert (scan.hu[:, :2] == -1024).all()
    assert scan.provenance.padding_voxels == 4 * 2 * 8


def test_missing_offset_and_direction_are_said(tmp_path: Path) -> None:
    scan = read_scan(write(tmp_path, Offset=None, TransformMatrix=None))
    assert scan.geometry.origin_xyz == (0, 0, 0)
    assert any("Offset" in w for w in scan.provenance.warnings)
    assert any("TransformMatrix" in w for w in scan.provenance.warnings)


def test_crlf_unicode_spaces_and_long_paths(tmp_path: Path) -> None:
    folder = tmp_path / "Ärzte & Söhne" / ("long " * 30).strip() / ("path" * 40)
    folder.mkdir(parents=True)
    name = "Thorax (2) ünï.raw"
    path = write(folder, ElementDataFile=name)
    (folder / "a.raw").rename(folder / name)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(read_scan(path).hu, hu())


def test_keys_after_the_last_are_not_ignored(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text() + "ElementByteOrderMSB = True\n")
    assert "after ElementDataFile" in refused(path)


def test_dicom_tags_that_itk_carries_along(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text("0010|0010 = DOE^JANE\nITK_InputFilterName = x\n" + path.read_text())
    scan = read_scan(path)
    assert "DOE" not in str(scan.provenance)


WORDS = st.sampled_from(
    ["0", "-1", "1e999", "nan", "8 6 4", "99999999999999999999", "%s%s%n", "LOCAL", "LIST", "",
     "True", "MET_SHORT", "MET_DOUBLE", "1 0 0 0 1 0 0 0 1", "a.raw", "/dev/zero", "0x10", "١ ٢ ٣"]
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.dictionaries(
        st.sampled_from([*FIELDS, "HeaderSize", "Position", "ElementSize"]),
        st.one_of(st.none(), WORDS, st.text(max_size=20)),
        max_size=4,
    ),
    noise=st.binary(max_size=12),
    at=st.integers(0, 400),
)
def test_any_header_is_read_or_refused(
    tmp_path: Path, changes: dict[str, str | None], noise: bytes, at: int
) -> None:
    path = write(tmp_path)
    text = header_text(**changes).encode("utf-8", errors="replace")
    path.write_bytes(text[:at] + noise + text[at:])
    with suppress(InputError):
        header = read_header(path)
        assert read_scan(path).shape_irc == header.size_irc

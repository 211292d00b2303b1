"""Volumes in blocks read back exactly, and damage anywhere in a frame is found."""

import json
import os
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from luna.ct.blocks import INDEX, BlockFile, grid_of, pack_blocks
from luna.ct.frames import MAGIC, PREFIX, VERSION, frame, frame_arrays, unframe_arrays
from luna.run.checked import DamagedError

BLOCK = (4, 8, 8)


def whole(volume: np.ndarray, block=BLOCK) -> np.ndarray:
    return np.ones(grid_of(volume.shape, block), dtype=bool)


def saved(path: Path, data: bytes) -> BlockFile:
    path.write_bytes(data)
    return BlockFile(path)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """No axis a multiple of its block; the extremes of int16 occur."""
    hu = np.random.default_rng(0).integers(-1024, 3000, (10, 21, 17)).astype(np.int16)
    hu[0, 0, :2] = -32768, 32767
    return hu


@pytest.fixture(scope="module")
def packed(volume) -> bytes:
    return pack_blocks(volume, whole(volume), -1000, sparse=False, block_irc=BLOCK)


@pytest.fixture(scope="module")
def on_disk(packed, tmp_path_factory) -> BlockFile:
    return saved(tmp_path_factory.mktemp("blocks") / "a.val", packed)


def padded(volume: np.ndarray, start, size, fill: int) -> np.ndarray:
    wide = np.pad(volume, 60, constant_values=fill)
    return wide[tuple(slice(a + 60, a + 60 + n) for a, n in zip(start, size, strict=True))]


@settings(max_examples=200)
@given(
    start=st.tuples(*[st.integers(-25, 30)] * 3),
    size=st.tuples(*[st.integers(1, 30)] * 3),
)
def test_any_box_is_what_the_padded_volume_holds(volume, on_disk, start, size):
    found = on_disk.box(start, size)
    assert found.dtype == np.int16
    assert np.array_equal(found, padded(volume, start, size, -1000))


@given(center=st.tuples(*[st.floats(-30, 40, allow_nan=False)] * 3))
def test_a_crop_is_what_the_scan_gives(scan_of, volume, on_disk, center):
    size = (7, 12, 13)
    assert np.array_equal(on_disk.crop(center, size), scan_of(volume).crop(center, size))


@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
@pytest.mark.parametrize("block", [(4, 8, 8), (16, 32, 32), (3, 5, 7), (1, 1, 1)])
def test_blocks_of_any_size_and_type(volume, tmp_path, dtype, block):
    values = volume.astype(dtype)
    file = saved(
        tmp_path / "a.val",
        pack_blocks(values, whole(values, block), 0, sparse=False, block_irc=block),
    )
    assert file.shape_irc == values.shape
    assert np.array_equal(file.box((0, 0, 0), values.shape), values)


def test_blocks_that_were_not_stored(volume, tmp_path):
    wanted = np.zeros_like(whole(volume))
    wanted[1, 1, 0] = True
    kept = np.s_[4:8, 8:16, 0:8]
    for sparse in (False, True):
        data = pack_blocks(volume, wanted, -7, sparse=sparse, block_irc=BLOCK)
        file = saved(tmp_path / f"{sparse}.val", data)
        assert np.array_equal(file.box((4, 8, 0), BLOCK), volume[kept])
        if sparse:
            expected = np.full_like(volume, -7)
            expected[kept] = volume[kept]
            assert np.array_equal(file.box((0, 0, 0), volume.shape), expected)
        else:
            with pytest.raises(DamagedError, match="was not stored"):
                file.box((3, 8, 0), BLOCK)


def test_threads_read_at_once(volume, on_disk):
    def read(k: int) -> bool:
        start = (k % 5, k % 9, k % 7)
        return np.array_equal(
            on_disk.box(start, (9, 9, 9)), padded(volume, start, (9, 9, 9), -1000)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(200)))


def use(data: bytes, path: Path) -> None:
    file = saved(path, data)
    file.check()
    file.box((0, 0, 0), file.shape_irc)


def test_a_flipped_bit_anywhere_is_found(tmp_path):
    small = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    data = pack_blocks(small, whole(small), 0, sparse=False, block_irc=BLOCK)
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << place % 8
        with pytest.raises(DamagedError):
            use(bytes(spoilt), tmp_path / "a.val")


def test_any_truncation_and_anything_more_is_found(packed, tmp_path):
    for length in [*range(0, len(packed), 97), len(packed) - 1]:
        with pytest.raises(DamagedError):
            use(packed[:length], tmp_path / "a.val")
    with pytest.raises(DamagedError):
        use(packed + b"\0", tmp_path / "a.val")


def test_a_file_that_shrinks_after_it_was_opened(packed, tmp_path):
    file = saved(tmp_path / "a.val", packed)
    os.truncate(tmp_path / "a.val", len(packed) // 2)
    with pytest.raises(DamagedError):
        file.check()


def test_an_open_file_takes_little_for_each_block(tmp_path):
    """LUNA16 has ten thousand blocks a scan, and 888 scans that training keeps open."""
    volume = np.zeros((10, 20, 20), dtype=np.int16)
    path = tmp_path / "a.val"
    path.write_bytes(pack_blocks(volume, volume == 0, 0, sparse=False, block_irc=(1, 1, 1)))
    tracemalloc.start()
    file = BlockFile(path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert file.shape_irc == volume.shape
    assert kept < 50 * volume.size


def test_an_index_out_of_order_is_damage(tmp_path):
    """Nothing would be found in it by a search."""
    index = np.array([(b, 0, len(GOOD_PART), zlib.crc32(GOOD_PART)) for b in (1, 0)], dtype=INDEX)
    head = HEAD | {"shape": (2, 2, 4), "count": 2, "crc": zlib.crc32(index.tobytes())}
    with pytest.raises(DamagedError, match="not in order"):
        saved(tmp_path / "a.val", frame(head, index.tobytes() + GOOD_PART))


HEAD = {
    "dtype": "<i2",
    "shape": (2, 2, 2),
    "block": (2, 2, 2),
    "codec": "zstd-planes",
    "fill": 0,
    "sparse": False,
    "count": 1,
}


def crafted(part: bytes, **more: object) -> bytes:
    """A frame with all checksums right, whatever it says."""
    entry = np.array([(0, 0, len(part), zlib.crc32(part))], dtype=INDEX).tobytes()
    return frame({**HEAD, "crc": zlib.crc32(entry), **more}, entry + part)


GOOD_PART = zstandard.ZstdCompressor().compress(bytes(16))


@pytest.mark.parametrize(
    "head",
    [
        {"dtype": "|O"},
        {"dtype": 3},
        {"codec": "pickle"},
        {"shape": (2, 2)},
        {"shape": (1, 2, 2)},
        {"shape": (-2, 2, 2)},
        {"shape": "none"},
        {"block": None},
        {"fill": "x"},
        {"count": 1 << 60},
        {"count": -1},
        {"count": 0},
    ],
)
def test_a_head_that_lies_is_damage(tmp_path, head):
    use(crafted(GOOD_PART), tmp_path / "good.val")
    with pytest.raises(DamagedError):
        saved(tmp_path / "a.val", crafted(GOOD_PART, **head)).box((0, 0, 0), (2, 2, 2))


@pytest.mark.parametrize(
    "part", [b"", b"junk", zstandard.ZstdCompressor().compress(bytes(1 << 20)), GOOD_PART[:-2]]
)
def test_a_block_that_is_none_is_damage(tmp_path, part):
    with pytest.raises(DamagedError):
        use(crafted(part), tmp_path / "a.val")


@pytest.mark.parametrize("text", [b"[]", b"{", b"\xff", b"[" * 60_000, b"null"])
def test_a_head_that_is_no_table_is_damage(tmp_path, text):
    data = PREFIX.pack(MAGIC, VERSION, len(text), zlib.crc32(text), 0) + text
    with pytest.raises(DamagedError):
        unframe_arrays(data)
    with pytest.raises(DamagedError):
        use(data, tmp_path / "a.val")


def test_another_version_is_said(packed, tmp_path):
    spoilt = bytearray(packed)
    struct.pack_into("<I", spoilt, len(MAGIC), VERSION + 1)
    with pytest.raises(DamagedError, match="this version"):
        use(bytes(spoilt), tmp_path / "a.val")


ARRAYS = {
    "floats": np.array([[1.5, -2.0, np.pi]]),
    "numbers": np.arange(5),
    "flags": np.array([1, 0], dtype=np.int8),
    "none": np.zeros((0, 3)),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "big": np.arange(3, dtype=">i8"),
}


def test_arrays_come_back_with_their_head():
    head, arrays = unframe_arrays(frame_arrays({"uid": "ä", "n": [1, 2]}, ARRAYS))
    assert head["uid"] == "ä"
    assert head["n"] == [1, 2]
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)
        assert arrays[name].shape == array.shape
        assert arrays[name].dtype == array.dtype.newbyteorder("<")


def test_arrays_with_a_flipped_bit_or_cut_short_are_refused():
    data = frame_arrays({"uid": "a"}, {"numbers": np.arange(5)})
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << place % 8
        with pytest.raises(DamagedError):
            unframe_arrays(bytes(spoilt))
        with pytest.raises(DamagedError):
            unframe_arrays(data[:place])


@pytest.mark.parametrize(
    "table",
    [
        [["a", "|O", [1]]],
        [["a", "<i8", [9]]],
        [["a", "<i8", [-1]]],
        [["a", "<i8", [1 << 62, 4]]],
        [["a", "<i8"]],
        [3],
        None,
    ],
)
def test_arrays_that_do_not_fit_their_head_are_refused(table):
    body = bytes(16)
    with pytest.raises(DamagedError):
        unframe_arrays(frame({"arrays": table, "crc": zlib.crc32(body)}, body))


def test_a_frame_is_its_documented_layout():
    data = frame({"b": 1, "a": 2}, b"xyz")
    magic, version, length, crc, body = PREFIX.unpack_from(data)
    text = data[PREFIX.size : PREFIX.size + length]
    assert (magic, version, body) == (MAGIC, VERSION, 3)
    assert json.loads(text) == {"a": 2, "b": 1}
    assert crc == zlib.crc32(text)
    assert data.endswith(b"xyz")

"""Compare luna's blocks with zarr and blosc2 as stores of one scan: size, opening, reading crops.

    pip install zarr blosc2          # luna itself needs neither
    python scripts/compare_block_stores.py ../shared/real/cptac-c3n-00247

Every store holds the whole volume in chunks of luna's own block size, unless its line says
otherwise, compressed losslessly with zstandard at level 1. Crops are what the classifier sees, at
places drawn at random inside the volume; files are in the page cache, one thread.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from luna.ct.blocks import BLOCK_IRC, BlockFile, grid_of, pack_blocks
from luna.ct.read import read_scan
from luna.ct.scan import AIR_HU
from luna.data.prep.config import CHUNK_IRC

READS = 500
ROUNDS = 3
LARGE_IRC = (32, 48, 48)
"""Chunks as large as a crop: fewer to read, more to throw away."""

SHARD_IRC = (64, 240, 240)
"""Chunks that zarr puts into one file; a file for each would be thousands for a scan."""

Volume = NDArray[np.int16]
Reader = Callable[[tuple[slice, ...]], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scan", type=Path)
    hu = np.ascontiguousarray(read_scan(parser.parse_args().scan).hu)
    boxes = crops(hu.shape)
    print(f"{hu.shape} int16, {hu.nbytes:,} bytes; zarr {zarr.__version__}, ", end="")
    print(f"blosc2 {blosc2.__version__}; crops of {CHUNK_IRC}\n")
    print("| store | bytes of 100 | files | writing | opening | crops/s |")
    print("|---|---|---|---|---|---|")
    for name, write, read in stores():
        with tempfile.TemporaryDirectory() as folder:
            print(measured(name, Path(folder) / "scan", hu, boxes, write, read), flush=True)


def stores() -> list[tuple[str, Callable[[Path, Volume], None], Callable[[Path], Reader]]]:
    return [
        ("luna's blocks", write_blocks, read_blocks),
        ("zarr, sharded", write_zarr, read_zarr),
        ("zarr, a file a chunk of 32×48×48", write_zarr_files, read_zarr),
        ("blosc2, shuffled", write_blosc, read_blosc),
        ("blosc2, bits shuffled", write_blosc_bits, read_blosc),
    ]


def crops(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    rng = np.random.default_rng(0)
    starts = [rng.integers(0, n - m + 1, READS) for n, m in zip(shape, CHUNK_IRC, strict=True)]
    return [
        tuple(slice(int(a), int(a) + n) for a, n in zip(start, CHUNK_IRC, strict=True))
        for start in zip(*starts, strict=True)
    ]


def write_blocks(path: Path, hu: Volume) -> None:
    every = np.ones(grid_of(hu.shape), dtype=np.bool_)
    path.write_bytes(pack_blocks(hu, every, AIR_HU, sparse=False, block_irc=BLOCK_IRC))


def read_blocks(path: Path) -> Reader:
    file = BlockFile(path)
    return lambda box: file.box(tuple(s.start for s in box), CHUNK_IRC)


def write_zarr(path: Path, hu: Volume) -> None:
    zarr.create_array(path, data=hu, chunks=BLOCK_IRC, shards=SHARD_IRC, compressors=compressor())


def write_zarr_files(path: Path, hu: Volume) -> None:
    zarr.create_array(path, data=hu, chunks=LARGE_IRC, compressors=compressor())


def compressor() -> BloscCodec:
    return BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")


def read_zarr(path: Path) -> Reader:
    return zarr.open_array(path, mode="r").__getitem__


def write_blosc(path: Path, hu: Volume) -> None:
    write_blosc_with(path, hu, blosc2.Filter.SHUFFLE)


def write_blosc_bits(path: Path, hu: Volume) -> None:
    write_blosc_with(path, hu, blosc2.Filter.BITSHUFFLE)


def write_blosc_with(path: Path, hu: Volume, shuffle: blosc2.Filter) -> None:
    how = blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=1, filters=[shuffle], nthreads=1)
    blosc2.asarray(hu, urlpath=str(path), chunks=SHARD_IRC, blocks=BLOCK_IRC, cparams=how)


def read_blosc(path: Path) -> Reader:
    blosc2.set_nthreads(1)
    return blosc2.open(str(path), mode="r").__getitem__


def measured(
    name: str,
    path: Path,
    hu: Volume,
    boxes: list[tuple[slice, ...]],
    write: Callable[[Path, Volume], None],
    read: Callable[[Path], Reader],
) -> str:
    begun = time.process_time()
    write(path, hu)
    writing = time.process_time() - begun
    files = [p for p in (path, *path.rglob("*")) if p.is_file()]
    share = 100 * sum(p.stat().st_size for p in files) / hu.nbytes
    begun = time.process_time()
    reader = read(path)
    opening = time.process_time() - begun
    for box in boxes[:20]:
        np.testing.assert_array_equal(reader(box), hu[box])
    rates = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for box in boxes:
            reader(box)
        rates.append(len(boxes) / (time.process_time() - begun))
    if path.is_dir():
        shutil.rmtree(path)
    return (
        f"| {name} | {share:.1f} | {len(files):,} | {writing:.2f} s | {1000 * opening:.1f} ms "
        f"| {max(rates):,.0f} |"
    )


if __name__ == "__main__":
    main()

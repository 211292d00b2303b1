"""Time `luna prep` against a plain loop over candidates, and reads of two layouts of a cache.

    python scripts/bench_prep.py FOLDER [--scans 8] [--workers 2]

FOLDER gets a phantom cohort at LUNA16's density (600 candidates per scan, voxels not compressed)
and the caches. The plain loop does what the book's does: a float32 crop per candidate, pickled
into a FanoutCache of 64 shards, each worker with a part of the scans; once with gzip (level 1),
once without, as the book's own gzip never sees its pickles. luna stores the slices for
segmentation too. For reads, every candidate's chunk is also stored alone, compressed as blocks
are; and luna's blocks are read once more with most files to be opened anew. All files are in
the page cache.
"""

from __future__ import annotations

import argparse
import gzip
import io
import pickle
import re
import resource
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import diskcache
import numpy as np

from luna.ct.blocks import BlockFile, pack_blocks
from luna.ct.cache import Cache
from luna.ct.read import read_scan
from luna.ct.scan import AIR_HU
from luna.data.luna16.folder import read_luna16
from luna.data.prep.cohort import prep
from luna.data.prep.config import CHUNK_IRC, PrepConfig
from luna.data.prep.job import Job, jobs
from luna.data.prepared import SPARE_FILES, open_prepared
from luna.phantom.cohort import write_cohort
from luna.phantom.config import PhantomConfig

DENSITY = PhantomConfig(negatives=(600, 600), slice_mm=(1.25, 1.25), without_nodules=0.0)
SHARDS = 64
READS = 4000
FEW_OPEN = 2
"""Of the volumes, where most reads are to open a file first."""

WINDOW_HU = (-1000, 1000)

Part = tuple[Path, Path, int, int]
"""The cohort or a cache, where to write, and which share of the work of how many."""


class GzipDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Pickles, compressed at level 1."""

    def store(self, value: Any, read: bool, key: Any = None) -> Any:
        packed = gzip.compress(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL), 1)
        return super().store(packed, read, key)

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> Any:
        packed = super().fetch(mode, filename, value, read)
        return pickle.load(gzip.GzipFile(fileobj=io.BytesIO(packed)))  # noqa: S301 - our own


def plain_store(folder: Path, *, gzipped: bool) -> diskcache.FanoutCache:
    disk = GzipDisk if gzipped else diskcache.Disk
    return diskcache.FanoutCache(str(folder), shards=SHARDS, timeout=1, size_limit=3e11, disk=disk)


def plain_loop(part: Part, *, gzipped: bool) -> int:
    """The book's way over a share of the scans; how many candidates that were."""
    data, out, share, of = part
    store, count = plain_store(out, gzipped=gzipped), 0
    for job in list(jobs(read_luna16(data)))[share::of]:
        scan = read_scan(job.path)
        hu = np.clip(scan.hu.astype(np.float32), *WINDOW_HU)
        for center in scan.geometry.irc_from_xyz(job.candidate_xyz):
            start = np.rint(center).astype(int) - np.array(CHUNK_IRC) // 2
            start = np.clip(start, 0, np.array(hu.shape) - CHUNK_IRC)
            crop = hu[tuple(slice(a, a + n) for a, n in zip(start, CHUNK_IRC, strict=True))]
            store.set((job.uid, tuple(center)), (crop.copy(), center))
            count += 1
    store.close()
    return count


def plain_pickled(part: Part) -> int:
    return plain_loop(part, gzipped=False)


def plain_gzipped(part: Part) -> int:
    return plain_loop(part, gzipped=True)


def single_chunks(part: Part) -> int:
    """Every chunk as a value of its own, in luna's cache and compression."""
    data, out, share, of = part
    store, count = Cache(out, create=True), 0
    for job in list(jobs(read_luna16(data)))[share::of]:
        scan = read_scan(job.path)
        for row, center in enumerate(scan.geometry.irc_from_xyz(job.candidate_xyz)):
            chunk, whole = scan.crop(center, CHUNK_IRC), np.ones((1, 1, 1), dtype=np.bool_)
            packed = pack_blocks(chunk, whole, AIR_HU, sparse=False, block_irc=CHUNK_IRC)
            store.put(f"{job.uid} {row}", packed)
            count += 1
    store.close()
    return count


def read_singles(part: Part) -> int:
    data, out, share, _ = part
    store = Cache(out)
    keys = [f"{job.uid} {row}" for job in jobs(read_luna16(data)) for row in rows(job)]
    for k in np.random.default_rng(share).integers(len(keys), size=READS):
        BlockFile(Path(store.path(keys[k]) or "")).box((0, 0, 0), CHUNK_IRC)
    return READS


def rows(job: Job) -> range:
    return range(len(job.candidate_xyz))


def read_blocks(part: Part) -> int:
    _, out, share, _ = part
    prepared = open_prepared(out)
    table = prepared.candidates
    for k in np.random.default_rng(share).integers(len(table.series), size=READS):
        prepared.volumes.crop("hu", int(table.series[k]), table.center_irc[k], CHUNK_IRC)
    return READS


def read_reopened(part: Part) -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SPARE_FILES + FEW_OPEN, hard))
    return read_blocks(part)


def luna_prep(data: Path, out: Path, workers: int) -> int:
    return prep(read_luna16(data), out, PrepConfig(), workers).candidates


def in_parts(work: Callable[[Part], int], data: Path, out: Path, workers: int) -> int:
    with get_context("spawn").Pool(workers) as pool:
        return sum(pool.map(work, [(data, out, share, workers) for share in range(workers)]))


def stored_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def timed(run: Callable[[], int]) -> tuple[int, float]:
    start = time.perf_counter()
    done = run()
    return done, time.perf_counter() - start


def cohort(folder: Path, scans: int) -> Path:
    data, unfinished = folder / f"cohort-{scans}", folder / "unfinished"
    if not data.exists():
        shutil.rmtree(unfinished, ignore_errors=True)
        write_cohort(unfinished, scans, 0, DENSITY, 2, lambda *step: print(*step, flush=True))
        for header in unfinished.glob("subset*/*.mhd"):
            decompress(header)
        unfinished.rename(data)
    return data


def decompress(header: Path) -> None:
    """The voxels of a scan as LUNA16 has them."""
    packed = header.with_suffix(".zraw")
    header.with_suffix(".raw").write_bytes(zlib.decompress(packed.read_bytes()))
    packed.unlink()
    text = re.sub("CompressedDataSize.*\n", "", header.read_text())
    text = text.replace("CompressedData = True", "CompressedData = False")
    header.write_text(text.replace(".zraw", ".raw"))


def writers(data: Path, workers: int) -> Iterator[tuple[str, Callable[[Path], int]]]:
    for name, work in (
        ("plain, pickled", plain_pickled),
        ("plain, pickled and gzip 1", plain_gzipped),
        ("luna's frames, one per chunk", single_chunks),
    ):
        yield name, lambda out, work=work: in_parts(work, data, out, workers)
    yield "luna prep", lambda out: luna_prep(data, out, workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    data = cohort(given.folder, given.scans)
    for path in data.glob("subset*/*"):
        path.read_bytes()
    print(f"{'':30} {'cand/s':>8} {'B/cand':>8} {'s':>6}")
    caches = {}
    for name, write in writers(data, given.workers):
        caches[name] = given.folder / name.replace(" ", "-").replace(",", "")
        shutil.rmtree(caches[name], ignore_errors=True)
        count, seconds = timed(lambda write=write, out=caches[name]: write(out))
        size = stored_bytes(caches[name]) / count
        print(f"{name:30} {count / seconds:8.0f} {size:8.0f} {seconds:6.1f}", flush=True)
    for name, cache, read in (
        ("luna's frames, one per chunk", "luna's frames, one per chunk", read_singles),
        ("luna prep", "luna prep", read_blocks),
        (f"luna prep, {FEW_OPEN} scans open", "luna prep", read_reopened),
    ):
        done, seconds = timed(
            lambda read=read, out=caches[cache]: in_parts(read, data, out, given.workers)
        )
        print(f"{name:30} {done / seconds:8.0f} reads/s from {given.workers} workers", flush=True)


if __name__ == "__main__":
    main()

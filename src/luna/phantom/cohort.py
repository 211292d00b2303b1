"""Write phantoms in the layout of LUNA16, in a pool of processes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from luna.ct.geometry import Geometry
from luna.ct.scan import HuArray, Scan
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import Nodule, Phantom, make_scan, series_uid
from luna.phantom.scanner import outside_circle
from luna.run.errors import UsageError
from luna.run.files import replace_file, sweep, write_fault
from luna.run.pool import worker_pool
from luna.run.progress import Progress, silent
from luna.run.table import write_table

SUBSETS = 10
"""LUNA16's folds; scan k lies in subset k modulo 10."""

PADDING_HU = -2048
"""What scanners write outside their circle."""

COMPRESSION = 1
"""CT noise hardly compresses further at higher levels, at several times the time."""

Row = tuple[object, ...]
ANNOTATION_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
TABLES: dict[str, tuple[str, ...]] = {
    "annotations.csv": ANNOTATION_COLUMNS,
    "annotations_kind.csv": (*ANNOTATION_COLUMNS, "kind", "malignant"),
    "annotations_with_malignancy.csv": (
        *ANNOTATION_COLUMNS,
        "mal_bool", "mal_details",
        "bboxLowX", "bboxLowY", "bboxLowZ", "bboxHighX", "bboxHighY", "bboxHighZ",
        "len_mal_details",
    ),
    "candidates_V2.csv": ("seriesuid", "coordX", "coordY", "coordZ", "class"),
}  # fmt: skip

NODULE_TABLES = ("annotations.csv", "annotations_kind.csv", "annotations_with_malignancy.csv")

Tables = dict[str, list[Row]]


def write_cohort(
    out: Path,
    scans: int,
    seed: int,
    config: PhantomConfig,
    processes: int = 1,
    progress: Progress = silent,
) -> list[str]:
    """Write `scans` phantoms under `out` and return their series UIDs.

    The files are the same for any number of processes. A scan counts in `progress` when its
    files are on disk, with its UID as detail. Raises UsageError when `out` already holds tables,
    EnvironmentFault when it cannot be written.
    """
    if scans < 1 or seed < 0 or processes < 1:
        raise UsageError("scans and processes must be at least 1, the seed at least 0")
    refuse_tables(out)
    _refuse_other_scans(out, {series_uid(seed, number) for number in range(scans)})
    subsets = subset_folders(out, scans)
    job = partial(_write_scan, out, seed, config)
    tables: Tables = {name: [] for name in TABLES}
    uids = []
    try:
        with closing(_mapped(job, range(scans), processes)) as results:
            progress("scan", 0, scans)
            for uid, rows in results:
                uids.append(uid)
                for name, found in rows.items():
                    tables[name] += found
                progress("scan", len(uids), scans, uid)
    finally:
        # A worker that is terminated leaves behind the file that it was writing.
        sweep(*subsets)
    write_tables(out, tables, uids)
    return uids


def refuse_tables(out: Path) -> None:
    """Raise UsageError for a folder that has the tables of a cohort."""
    existing = [name for name in TABLES if (out / name).exists()]
    if existing:
        raise UsageError(
            f"{out} already holds {existing[0]}", hint="choose a new folder for the cohort"
        )


def write_tables(out: Path, tables: Tables, uids: Iterable[str]) -> None:
    """Write the tables that a cohort has, and the list of its scans."""
    for name, rows in tables.items():
        write_table(out / name, [TABLES[name], *rows])
    with replace_file(out / "seriesuids.csv") as path:
        path.write_text("".join(f"{uid}\n" for uid in uids))


def _refuse_other_scans(out: Path, uids: set[str]) -> None:
    """Raise UsageError for a scan in no table, which would count as one without nodules."""
    for path in sorted(out.glob("subset*/*.mhd")):
        if path.stem not in uids:
            raise UsageError(
                "a scan of another cohort",
                file=path,
                hint="choose a new folder, or use the --scans and --seed that it was started with",
            )


def subset_folders(out: Path, scans: int) -> list[Path]:
    """Make the folders for so many scans."""
    subsets = [out / f"subset{subset}" for subset in range(min(SUBSETS, scans))]
    try:
        for subset in subsets:
            subset.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_fault(out, error) from error
    return subsets


def _mapped(
    job: Callable[[int], tuple[str, Tables]], numbers: Sequence[int], processes: int
) -> Generator[tuple[str, Tables], None, None]:
    """Results of the job in order, from this process or from a pool."""
    if processes == 1:
        yield from map(job, numbers)
        return
    with worker_pool(processes, "--workers") as pool:
        yield from pool.map(job, numbers)


def _write_scan(out: Path, seed: int, config: PhantomConfig, number: int) -> tuple[str, Tables]:
    """Make one scan, write its image, and return its rows of every table."""
    phantom = make_scan(seed, config, number)
    uid = series_uid(seed, number)
    hu, geometry = stored(phantom.scan)
    write_metaimage(out / f"subset{number % SUBSETS}" / f"{uid}.mhd", hu, geometry)
    # A stream of its own: the readers' ratings must not shift what was drawn before.
    ratings = np.random.default_rng([seed, number, 1])
    return uid, _rows(uid, phantom, ratings)


def stored(scan: Scan) -> tuple[HuArray, Geometry]:
    """Turn a scan into what its file holds: padded, and in `stored_orientation`."""
    letters = scan.provenance.stored_orientation
    flip_xyz = [have != want for have, want in zip(letters, "LPS", strict=True)]
    flip_irc = np.array(flip_xyz[::-1])
    corner = np.where(flip_irc, np.array(scan.shape_irc) - 1, 0)
    x, y, z = scan.geometry.xyz_from_irc(corner).tolist()
    matrix = scan.geometry.matrix * np.where(flip_xyz, -1.0, 1.0)
    hu = scan.hu
    if scan.provenance.padding_voxels:
        hu = hu.copy()
        hu[:, outside_circle(scan.shape_irc[1:])] = PADDING_HU
    hu = np.flip(hu, tuple(np.flatnonzero(flip_irc).tolist()))
    direction = tuple(matrix.ravel().tolist())
    return hu, Geometry((x, y, z), scan.geometry.spacing_xyz, direction)


def write_metaimage(path: Path, hu: HuArray, geometry: Geometry) -> None:
    """Write `path` (.mhd) and the compressed voxels beside it (.zraw).

    MetaImage lists the direction axis by axis: the columns of `geometry.matrix`.
    """
    voxels = path.with_suffix(".zraw")
    packed = zlib.compress(np.ascontiguousarray(hu, dtype="<i2").data, COMPRESSION)
    with replace_file(voxels) as temporary:
        temporary.write_bytes(packed)
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(packed)),
        "TransformMatrix": _numbers(geometry.matrix.T.ravel().tolist()),
        "Offset": _numbers(geometry.origin_xyz),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": _numbers(geometry.spacing_xyz),
        "DimSize": _numbers(hu.shape[::-1]),
        "ElementType": "MET_SHORT",
        "ElementDataFile": voxels.name,
    }
    with replace_file(path) as temporary:
        temporary.write_text("".join(f"{key} = {value}\n" for key, value in header.items()))


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.17g}" for value in values)


def _rows(uid: str, phantom: Phantom, rng: np.random.Generator) -> Tables:
    tables = nodule_rows(uid, phantom.scan.geometry, phantom.nodules, rng)
    tables["candidates_V2.csv"] = [
        (uid, *candidate.center_xyz, int(candidate.is_nodule)) for candidate in phantom.candidates
    ]
    return tables


def nodule_rows(
    uid: str, geometry: Geometry, nodules: Iterable[Nodule], rng: np.random.Generator
) -> Tables:
    """Rows of the tables of nodules; `rng` draws what readers say of each."""
    tables: Tables = {name: [] for name in NODULE_TABLES}
    for nodule in nodules:
        head = (uid, *nodule.center_xyz, nodule.diameter_mm)
        tables["annotations.csv"].append(head)
        tables["annotations_kind.csv"].append((*head, nodule.kind, nodule.malignant))
        details = _ratings(rng, nodule.malignant)
        box = _bounding_box(geometry, nodule)
        tables["annotations_with_malignancy.csv"].append(
            (*head, nodule.malignant, str(details), *box, len(details))
        )
    return tables


def _ratings(rng: np.random.Generator, malignant: bool) -> list[int]:
    """Draw the ratings, 1 to 5, of three or four readers who are right about malignancy."""
    count = int(rng.integers(3, 5))
    low, high = (4, 6) if malignant else (1, 4)
    return [int(v) for v in rng.integers(low, high, count)]


def _bounding_box(geometry: Geometry, nodule: Nodule) -> tuple[float, ...]:
    """Lowest then highest x, y, z in LPS mm over the corners of the nodule's voxels."""
    low = np.array(nodule.start_irc)
    high = low + np.array(nodule.voxels.shape)
    filled = np.argwhere(nodule.voxels)
    if len(filled):
        low, high = low + filled.min(axis=0), low + filled.max(axis=0) + 1
    picks = np.array(np.meshgrid(*([[0, 1]] * 3))).reshape(3, -1).T
    corners = geometry.xyz_from_irc(np.where(picks, high, low) - 0.5)
    return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())

"""The files that a scan is read from."""

from __future__ import annotations

from pathlib import Path

from luna.ct.formats.keys import LOCAL
from luna.ct.formats.metaimage import read_header
from luna.ct.formats.stream import sibling
from luna.ct.read import scan_suffix

VOXEL_SUFFIXES = (".img", ".img.gz", ".raw", ".raw.gz")
"""Of the voxels that lie beside a header of NIfTI or NRRD, under its name."""


def files_of(path: Path) -> list[Path]:
    """Return the files of a volume with its header first, or all files of a folder.

    Raises InputError when a MetaImage header cannot be read or its data file is not there.
    """
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    if scan_suffix(path) == ".mhd":
        name = read_header(path).data_file
        return [path] if name == LOCAL else [path, sibling(path, name)]
    stem = path.name[: -len(scan_suffix(path))]
    beside = (path.with_name(stem + suffix) for suffix in VOXEL_SUFFIXES)
    return [path, *(p for p in beside if p.is_file())]

"""Read a scan from a path in any format, or raise one clear error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from luna.ct.archive import extracted
from luna.ct.dicom.directory import is_directory
from luna.ct.dicom.file import is_dicom
from luna.ct.dicom.folder import Found, find_dicom
from luna.ct.dicom.instances import headers_of
from luna.ct.dicom.series import SeveralScansError, read_dicom, series_of
from luna.ct.formats.metaimage import read_metaimage
from luna.ct.formats.nrrd import read_nrrd
from luna.ct.orient import orientation_code, to_patient_axes
from luna.ct.scan import Instance, Provenance, Scan
from luna.ct.volume import Volume, as_series_uid
from luna.run.errors import EnvironmentFault, InputError, UsageError


def _read_nifti(path: Path) -> Volume:
    from luna.ct.formats.nifti import read_nifti  # nibabel is slow to load

    return read_nifti(path)


READERS: dict[str, Callable[[Path], Volume]] = {
    ".mhd": read_metaimage,
    ".mha": read_metaimage,
    ".nii": _read_nifti,
    ".nii.gz": _read_nifti,
    ".hdr": _read_nifti,
    ".hdr.gz": _read_nifti,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
}
DATA_SUFFIXES = (".raw", ".zraw")
PAIR_DATA = {".img": ".hdr", ".img.gz": ".hdr.gz"}
"""The voxels of a NIfTI pair, which may be named instead of its header."""


def read_scan(path: str | Path, *, series_uid: str | None = None) -> Scan:
    """Read the CT at a path.

    `path` is a MetaImage (`.mhd`, `.mha`), NIfTI (`.nii`, `.nii.gz`, `.hdr` or `.img`) or NRRD
    file, a folder of DICOM files, one file of a DICOM series, a DICOMDIR, a folder with one
    volume file, or a `.zip` of any of these.
    `series_uid` chooses among several. Formats without a series UID take the file's name
    for it, without suffix and with blanks and signs replaced (LUNA16 names files so).

    Raises UsageError (exit 2) when the path is missing or names several scans, InputError
    (3) when the file is damaged, is no CT, or is not understood beyond doubt, and
    EnvironmentFault (4) when it may not be read or does not fit the memory.
    """
    path = Path(path)
    with _opened(path) as place:
        volume, name = _read(place, series_uid)
        return _scan(volume, path, path.name if place != path else name)


def scan_suffix(path: Path) -> str:
    """Return the suffix by which a file's name says that it is a scan; nothing if it does not.

    >>> scan_suffix(Path("ct.nii.gz")), scan_suffix(Path("ct.raw"))
    ('.nii.gz', '')
    """
    suffix = _suffix(path)
    return suffix if suffix in READERS else ""


def read_files(place: Path, found: Found, series_uid: str) -> Scan:
    """Read the series of some DICOM files; `place` is what messages name. Raises as `read_scan`."""
    with _opened(place):
        return _scan(read_dicom(place, found, series_uid), place, place.resolve().name)


def read_headers(path: Path, instances: Sequence[Instance]) -> tuple[FileDataset, ...]:
    """Read the headers of a scan's DICOM files again: all of each file but its pixels.

    `path` is what the scan was read from, `instances` its provenance's. Each file comes once, in
    the order of the instances. Raises InputError where a file is not there any more, and as
    `read_scan`.
    """
    with _opened(path) as place:
        return headers_of(_dicom_files(place), instances)


def _dicom_files(place: Path) -> Found:
    """Find the DICOM files of a folder, of a DICOMDIR, or beside a file of a series."""
    if place.is_dir():
        return find_dicom(place)
    if not is_dicom(place):
        return Found([])
    return find_dicom(place.parent, below=is_directory(place))


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """Give `path` itself, or the folder that a `.zip` is unpacked to, and map library errors."""
    try:
        if not path.exists():
            raise UsageError("no such file or folder", file=path)
        if path.suffix.lower() == ".zip" and path.is_file():
            with extracted(path) as folder:
                yield folder
        else:
            yield path
    except PermissionError as error:
        raise EnvironmentFault("no permission to read", file=path, why=str(error)) from error
    except MemoryError as error:
        raise EnvironmentFault(
            "the scan does not fit the memory", file=path, hint="close other programs"
        ) from error
    except OSError as error:
        raise InputError("the scan cannot be read", file=path, why=str(error)) from error


def _read(path: Path, series_uid: str | None) -> tuple[Volume, str]:
    """Return the volume, and the name of its file or folder."""
    if path.is_dir():
        return _read_folder(path, series_uid)
    if not path.is_file():
        raise InputError("not a plain file", file=path, why="a device or a pipe")
    if path.stat().st_size == 0:  # also what the kernel makes up, some of it without an end
        raise InputError("the file is empty", file=path, hint="copy or download it again")
    if _suffix(path) in (*READERS, *PAIR_DATA):
        return _read_file(path, series_uid), path.name
    if is_dicom(path):
        return _read_one_of_series(path, series_uid), path.parent.resolve().name
    if path.suffix.lower() in DATA_SUFFIXES:
        raise UsageError(
            "this is the data of a scan, not its header",
            file=path,
            hint="name the .mhd file beside it",
        )
    raise InputError(
        "not a scan that luna reads",
        file=path,
        hint="MetaImage, NIfTI, NRRD, DICOM, or a .zip of one of them",
    )


def _read_folder(folder: Path, series_uid: str | None) -> tuple[Volume, str]:
    found = find_dicom(folder)
    if found.files:
        return read_dicom(folder, found, series_uid), folder.resolve().name
    volumes = [p for p in sorted(folder.rglob("*")) if _is_plain(p) and _suffix(p) in READERS]
    if series_uid is not None:
        volumes = [p for p in volumes if _uid_of(p) == series_uid] or volumes
    if len(volumes) == 1:
        return _read_file(volumes[0], series_uid), volumes[0].name
    if not volumes:
        raise InputError(
            "no scan in this folder",
            file=folder,
            why=" ".join(found.sentences()),
            hint="luna reads DICOM, .mhd, .mha, .nii, .hdr, .nrrd; unpack what is compressed",
        )
    names = ", ".join(p.name for p in volumes[:4]) + (", …" if len(volumes) > 4 else "")
    raise SeveralScansError(
        f"{len(volumes)} scans in this folder", file=folder, why=names, hint="name one of them"
    )


def _read_file(path: Path, series_uid: str | None) -> Volume:
    uid = _uid_of(path)
    if series_uid not in (None, uid):
        raise UsageError(f"no series {series_uid} here", file=path, why=f"it is {uid}")
    suffix = _suffix(path)
    return replace(READERS[PAIR_DATA.get(suffix, suffix)](path), series_uid=uid)


def _read_one_of_series(path: Path, series_uid: str | None) -> Volume:
    """Read the series that a file belongs to, or, of a DICOMDIR, the folder that it lists."""
    if is_directory(path):
        return read_dicom(path.parent, find_dicom(path.parent), series_uid)
    own = series_of(path)
    if series_uid not in (None, own, as_series_uid(own)):
        raise UsageError(f"the file is not of series {series_uid}", file=path, why=f"but of {own}")
    return read_dicom(path, find_dicom(path.parent, below=False), own, one_of=path)


def _is_plain(path: Path) -> bool:
    """Return whether a path in a folder may be a scan: no `._a.mhd`, macOS's notes on `a.mhd`."""
    return path.is_file() and not path.name.startswith(".")


def _scan(volume: Volume, path: Path, source: str) -> Scan:
    """Turn a volume, read from `path`, to the patient's axes."""
    voxels, geometry = to_patient_axes(volume.hu, volume.geometry)
    code = orientation_code(volume.geometry)
    return Scan(
        hu=np.ascontiguousarray(voxels, dtype=np.int16),
        geometry=geometry,
        series_uid=volume.series_uid,
        provenance=Provenance(
            source=source,
            path=str(path.absolute()),
            format=volume.format,
            metadata=volume.metadata,
            phi=volume.phi,
            warnings=volume.warnings,
            stored_orientation=code,
            image_numbers=_turned_numbers(volume.image_numbers, code),
            instances=volume.instances,
            padding_voxels=volume.padding_voxels,
        ),
    )


def _turned_numbers(numbers: tuple[int, ...], code: str) -> tuple[int, ...]:
    """Return image numbers from feet to head; none where the file's images are not axial."""
    return {"S": numbers, "I": numbers[::-1]}.get(code[2], ())


def _uid_of(path: Path) -> str:
    return as_series_uid(path.name[: -len(_suffix(path))])


def _suffix(path: Path) -> str:
    name = path.name.lower()
    double = (suffix for suffix in (*READERS, *PAIR_DATA) if suffix.count(".") > 1)
    return next((suffix for suffix in double if name.endswith(suffix)), path.suffix.lower())

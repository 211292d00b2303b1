"""A scan in a `.zip`, unpacked to a private folder while it is read."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from luna.run.errors import EnvironmentFault, InputError, LunaError
from luna.run.files import DISK_FULL, private_folder

MAX_BYTES = 1 << 33
MAX_MEMBERS = 20_000
MAX_DIRECTORY_BYTES = 1 << 25
"""The list of members is read at once: 20,000 of them with names of 200 bytes take 5 MB."""

MAX_RATIO = 200
"""CT compresses two to five times, a mostly empty one forty; bombs a thousand times."""

ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar")

CHUNK_BYTES = 1 << 20

DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError),
    *(UnicodeDecodeError, IndexError),
)
"""The errors of zipfile and the decoders for damaged bytes; the last two for a member's name."""


@contextmanager
def extracted(path: Path) -> Iterator[Path]:
    """Unpack an archive to a temporary folder, which is removed afterwards.

    Raises InputError for a damaged, encrypted or nested archive, one with links or with
    paths out of it, and one that unpacks to an implausible size; EnvironmentFault when there is
    no temporary folder, or its disk has no room.
    """
    with private_folder() as folder:
        try:
            with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
                for member, target in _checked(path, archive, folder):
                    _unpack(path, archive, member, target)
        except DAMAGE as error:
            raise InputError("the archive is damaged", file=path, why=str(error)) from error
        except OSError as error:
            if error.errno in DISK_FULL:
                raise _no_room(path, str(error)) from error
            raise
        with _named_by_member(path, folder):
            yield folder


class _Bounded(io.FileIO):
    """A file of which only so much is read at once: the list of members has a bound, too."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as FileIO does. Raises InputError for more than MAX_DIRECTORY_BYTES."""
        if size is None or size < 0:
            size = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        if size > MAX_DIRECTORY_BYTES:
            raise InputError(
                "the archive lists implausibly many members",
                file=str(self.name),
                why=f"{size:,} bytes",
            )
        return super().read(size) or b""


@contextmanager
def _named_by_member(path: Path, folder: Path) -> Iterator[None]:
    """Let errors name the member in its archive, not a temporary file that is gone by then."""
    try:
        yield
    except LunaError as error:
        if error.file is not None and Path(error.file).is_relative_to(folder):
            error.file = str(path / Path(error.file).relative_to(folder))
        raise


def _no_room(path: Path, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        "no room to unpack the archive",
        file=path,
        why=why,
        hint="free some space in the temporary folder, or unpack it yourself",
    )


def _checked(
    path: Path, archive: zipfile.ZipFile, folder: Path
) -> list[tuple[zipfile.ZipInfo, Path]]:
    """Return the members that are files, each with the place it may be written to."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    total = sum(info.file_size for info in infos)
    packed = sum(info.compress_size for info in infos)
    if len(infos) > MAX_MEMBERS or total > MAX_BYTES or total > MAX_RATIO * max(packed, 1):
        raise InputError(
            "the archive would unpack to an implausible size",
            file=path,
            why=f"{len(infos):,} files, {total:,} bytes from {packed:,}",
        )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise _no_room(path, f"{total:,} bytes needed, {free:,} free in {folder.parent}")
    targets = [folder / _safe_name(path, info) for info in infos]
    folders = {parent for target in targets for parent in target.parents}
    if len(set(targets)) < len(targets) or folders & set(targets):
        raise InputError("two members of the archive have one name", file=path)
    return list(zip(infos, targets, strict=True))


def _safe_name(path: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    """Return a member's name, if it stays inside. Raises InputError with the reason otherwise."""
    name = PurePosixPath(info.filename.replace("\\", "/"))
    mode = info.external_attr >> 16
    reasons = {
        "an absolute path": name.is_absolute() or bool(PureWindowsPath(info.filename).drive),
        "a path out of the archive": ".." in name.parts,
        "a link": stat.S_ISLNK(mode),
        "encrypted": bool(info.flag_bits & 1),
        "an archive itself": name.suffix.lower() in ARCHIVES,
    }
    for reason, holds in reasons.items():
        if holds:
            raise InputError(
                f"a member of the archive is {reason}", file=path, why=repr(info.filename[:80])
            )
    return name


def _unpack(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write one member; its declared size bounds it and its checksum is verified at the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sink = target.open("wb")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise InputError(
            "a member of the archive cannot be unpacked",
            file=path,
            why=f"{member.filename[:80]!r}: {getattr(error, 'strerror', error)}",
            hint="unpack it yourself and name the folder",
        ) from error
    written = 0
    with sink, archive.open(member) as source:
        while chunk := source.read(CHUNK_BYTES):
            written += len(chunk)
            if written > member.file_size:
                raise InputError("a member is larger than the archive says", file=path)
            sink.write(chunk)

"""Files that appear whole or not at all, and the record of what a run was."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from luna import __version__
from luna.run.errors import EnvironmentFault, UsageError

MIB = 1 << 20

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

TEMPORARY = ".tmp-"
"""How the names of files begin that are being written."""

NUMERIC_PACKAGES = ("torch", "numpy", "scipy", "SimpleITK", "pydicom", "safetensors")
"""The packages whose version can change a result."""


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    The data is fsynced before the rename and the folder after it, so a crash leaves either
    the old file or the new one. When the block raises, the temporary file is removed and
    `path` is untouched. The temporary name ends in `path`'s own suffixes, for writers that
    choose a format by name. Raises EnvironmentFault when the disk is full or not writable.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=f"-{path.name}")
    except OSError as error:
        raise write_fault(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes 0600; what a user asked for gets the mode that open() would give it.
        temporary.chmod(0o666 & ~_umask())
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    except OSError as error:
        raise write_fault(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def sweep(*folders: Path) -> None:
    """Remove the temporary files of a run that was killed; nothing else may be writing there."""
    for folder in folders:
        for path in folder.glob(f"{TEMPORARY}*"):
            path.unlink(missing_ok=True)


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files of these names, if they are there. Raises EnvironmentFault when it cannot."""
    for name in names:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise write_fault(folder / name, error) from error


def claim_folder(out: Path, *, force: bool, dry_run: bool = False, option: str = "--out") -> None:
    """Make sure, before any computing, that results may and can be written into a folder.

    The folder is made when it is not there; a dry run only looks. `option` is what names it on
    the command line. Raises UsageError when it
    holds files and `force` is not set, or is no folder; EnvironmentFault when it cannot be
    written.
    """
    try:
        if out.exists() and not out.is_dir():
            raise UsageError("not a folder", file=out, hint=f"choose another {option} folder")
        if not force and out.exists() and any(out.iterdir()):
            raise UsageError(
                "this folder already holds files",
                file=out,
                hint=f"choose another {option} folder, or --force to write into this one",
            )
        if dry_run:
            _look_whether_writable(out)
            return
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise write_fault(out, error, option) from error


def _look_whether_writable(out: Path) -> None:
    nearest = nearest_existing(out)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))


def nearest_existing(path: Path) -> Path:
    """The path itself, or the first above it that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def is_text(name: str) -> bool:
    """Whether UTF-8 can say it; a path may be bytes that it cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_fault(path: Path, error: OSError, option: str = "--out") -> EnvironmentFault:
    """The EnvironmentFault that tells a user why `path` could not be written."""
    if error.errno in DISK_FULL:
        left_mib = shutil.disk_usage(nearest_existing(path)).free / MIB
        return EnvironmentFault(
            "the disk is full",
            file=path,
            why=str(error),
            hint=f"free some space ({left_mib:.1f} MiB are left), then run again",
        )
    return EnvironmentFault(
        "cannot write here", file=path, why=str(error), hint=f"choose another {option} folder"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """What a run was, so that it can be understood and repeated.

    `versions` holds Python, luna and the packages that shape results; `git_commit` the commit
    of luna's own checkout, with `+changes` when files differ from it, None outside one;
    `config` the whole configuration as TOML; `device` as torch names it; `started` in UTC;
    `data` where the data was and its fingerprint.
    """

    command: tuple[str, ...]
    versions: dict[str, str]
    git_commit: str | None
    config: str
    seed: int | None
    device: str
    platform: str
    started: str
    data: Mapping[str, str] = field(default_factory=dict)


def record_run(
    command: Sequence[str],
    config: str,
    device: str,
    seed: int | None = None,
    data: Mapping[str, str] | None = None,
) -> RunRecord:
    """The record of a run that starts now."""
    return RunRecord(
        command=tuple(command),
        versions=versions(),
        git_commit=git_commit(),
        config=config,
        seed=seed,
        device=device,
        platform=platform.platform(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        data=dict(data or {}),
    )


def write_record(record: RunRecord, path: Path) -> None:
    """The record as JSON."""
    with replace_file(path) as temporary:
        text = json.dumps(asdict(record), indent=2, ensure_ascii=False)
        # A path may be bytes that are no text; a backslash makes them what JSON calls an escape.
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def is_record(path: Path) -> bool:
    """Whether a file is what `write_record` wrote."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.keys() == {f.name for f in fields(RunRecord)}


def versions() -> dict[str, str]:
    """Versions of luna, Python and what luna computes and reads with."""
    found = {"luna": __version__, "python": platform.python_version()}
    for name in NUMERIC_PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_commit() -> str | None:
    """The commit of luna's own checkout, or None when luna is installed from elsewhere."""
    folder = Path(__file__).parent
    # An installed luna may lie inside another project's repository: the file must be tracked.
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    return f"{commit}+changes" if commit and changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None when it is absent or refuses."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, our words
    return done.stdout.strip() if done.returncode == 0 else None


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

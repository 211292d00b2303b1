"""The record of a run: versions, commit, config, device, data."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from luna import __version__
from luna.run.files import replace_file

NUMERIC_PACKAGES = ("torch", "numpy", "scipy", "SimpleITK", "pydicom", "safetensors")
"""The packages whose version can change a result."""

GIT_SECONDS_MAX = 5.0
"""A git that takes longer hangs; what it would say is not worth the wait."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """The record of a run, so that it can be understood and repeated.

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
    """Return the record of a run that starts now."""
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
    """Write the record as JSON."""
    with replace_file(path) as temporary:
        text = json.dumps(asdict(record), indent=2, ensure_ascii=False)
        # A path may be bytes that are no text; a backslash makes them what JSON calls an escape.
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def is_record(path: Path) -> bool:
    """Return whether a file is what `write_record` wrote."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.keys() == {f.name for f in fields(RunRecord)}


def versions() -> dict[str, str]:
    """Return the versions of luna, Python and the packages it reads and computes with."""
    found = {"luna": __version__, "python": platform.python_version()}
    for name in NUMERIC_PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_commit() -> str | None:
    """Return the commit of luna's own checkout; None when it is not known.

    It is not known where luna is installed from elsewhere, or git is absent, broken or slow.
    """
    folder = Path(__file__).parent
    # An installed luna may lie inside another project's repository: the file must be tracked.
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    if commit is None or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return None
    return f"{commit}+changes" if changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None when it is absent, refuses, or takes too long."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, our words
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=GIT_SECONDS_MAX,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    # A file's name may be bytes that are no text.
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None

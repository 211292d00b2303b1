"""The folder of a server: the list of scans, and for each scan its upload and its report.

    DATA/scans.sqlite3            the list and the queue
    DATA/scans/ID/upload.zip      what was sent, as one archive
    DATA/scans/ID/report/         the files of the report
    DATA/incoming/                uploads that are not complete
    DATA/studies/                 what comes in from the network, until its study is complete
    DATA/work/                    what the worker unpacks

An id is random and made here: no name that came from outside becomes a path.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from luna.run.errors import UsageError
from luna.run.files import write_fault
from luna.run.folders import held_folder
from luna.serve.store import Store, UnknownScanError

LIST = "scans.sqlite3"
UPLOAD = "upload.zip"
PRIVATE = 0o700
ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Folder:
    """Where a server keeps its scans. Only its user may enter."""

    root: Path

    @property
    def store(self) -> Store:
        """The list of scans."""
        return Store(self.root / LIST)

    @property
    def incoming(self) -> Path:
        """The folder of uploads that are not complete."""
        return self.root / "incoming"

    @property
    def studies(self) -> Path:
        """The folder of studies from the network that are not complete."""
        return self.root / "studies"

    @property
    def work(self) -> Path:
        """The folder in which the worker unpacks archives."""
        return self.root / "work"

    def scan(self, scan: str) -> Path:
        """Return the folder of a scan. Raises UnknownScanError for what is no id."""
        if not ID.fullmatch(scan):
            raise UnknownScanError("no such scan", hint="an id has 32 hexadecimal digits")
        return self.root / "scans" / scan

    def upload(self, scan: str) -> Path:
        """Return the archive that was sent."""
        return self.scan(scan) / UPLOAD

    def report(self, scan: str) -> Path:
        """Return the folder of a scan's report."""
        return self.scan(scan) / "report"

    def report_files(self, scan: str) -> list[Path]:
        """Return the files of a report; none before it is there."""
        folder = self.report(scan)
        if not (folder / "report.html").is_file():
            return []
        return sorted(path for path in folder.iterdir() if path.is_file())

    @contextmanager
    def new_upload(self) -> Iterator[tuple[str, Path]]:
        """Yield a new id and where its upload is to be written.

        When the block ends well, the upload is complete on disk under its id; else it is gone.
        """
        scan = secrets.token_hex(16)
        growing = self.incoming / scan
        try:
            growing.mkdir(mode=PRIVATE)
            yield scan, growing / UPLOAD
            _write_out(growing / UPLOAD)
            growing.rename(self.scan(scan))
            _write_out(self.root / "scans")
        except OSError as error:
            raise write_fault(self.root, error, "--data") from error
        finally:
            shutil.rmtree(growing, ignore_errors=True)

    def remove(self, scan: str) -> None:
        """Remove all files of a scan without a row."""
        shutil.rmtree(self.scan(scan), ignore_errors=True)

    def clear_work(self) -> None:
        """Remove what a worker that ended had unpacked."""
        for path in self.work.iterdir():
            shutil.rmtree(path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove uploads that were broken off, and scans without a row. Nothing else may run."""
        for path in self.incoming.iterdir():
            shutil.rmtree(path, ignore_errors=True)
        known = self.store.ids()
        for path in (self.root / "scans").iterdir():
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def held(root: Path, warn: Callable[[str], None]) -> Iterator[Folder]:
    """Hold a server's folder, made where it is missing, until the block ends.

    Raises UsageError when another server holds it or when it holds other things.
    """
    folder = Folder(root.absolute())
    ours = (root / LIST).is_file()
    if root.exists() and not root.is_dir():
        raise UsageError("not a folder", file=root, hint="choose another --data folder")
    with held_folder(folder.root, force=ours, option="--data", warn=warn):
        try:
            folder.root.chmod(PRIVATE)
            for path in (folder.incoming, folder.studies, folder.work, folder.root / "scans"):
                path.mkdir(mode=PRIVATE, exist_ok=True)
        except OSError as error:
            raise write_fault(folder.root, error, "--data") from error
        folder.sweep()
        yield folder


def _write_out(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""What comes in: C-ECHO, and C-STORE of CT images, gathered until their study is complete."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import

from luna.run.errors import EnvironmentFault
from luna.run.text import printable
from luna.serve.folder import PRIVATE, Folder
from luna.serve.node.address import Node
from luna.serve.request import ScanRequest
from luna.serve.upload import SPARE_BYTES, Limits

SYNTAXES = [
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian),
    *(DeflatedExplicitVRLittleEndian, RLELossless),
    *(*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes),
]
"""The transfer syntaxes of CT that `luna.ct.dicom` reads, the uncompressed ones first."""

MOST_ASSOCIATIONS = 16
IDLE_S = 60
"""How long an association may say nothing; whoever sends garbage is cut off sooner."""

ASKING_S = 10

STORED, NO_ROOM, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xC000
"""Statuses of C-STORE (DICOM PS3.4, B.2.3)."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """The studies that are coming in: a folder for each, in which every image is a file.

    Names are hashes of UIDs: what a peer calls its objects becomes no path, and an image that
    is sent twice is there once.
    """

    folder: Folder
    node: Node
    limits: Limits

    def keep(self, event: Any) -> int:
        """Keep an image that was sent. Returns the status for the sender."""
        try:
            study = str(event.dataset.StudyInstanceUID)
            instance = str(event.request.AffectedSOPInstanceUID)
            place = self.folder.studies / _hash(study)[:32]
            place.mkdir(mode=PRIVATE, exist_ok=True)
            if self._is_full(place):
                return NO_ROOM
            growing = place / f".{_hash(instance)}"
            with growing.open("wb") as out:
                out.write(event.encoded_dataset())
                out.flush()
                os.fsync(out.fileno())  # the sender may forget the image from now on
            growing.rename(place / _hash(instance))
            return STORED
        except OSError:
            return NO_ROOM
        except Exception:  # whatever pydicom says of bytes from a network
            return NOT_UNDERSTOOD

    def queue_complete(self, *, now: float) -> list[str]:
        """Queue the studies that are complete; returns the ids of their scans."""
        quiet = self.node.quiet_s
        places = [p for p in self.folder.studies.iterdir() if now - p.stat().st_mtime >= quiet]
        return [self._queue(place) for place in places]

    def _queue(self, place: Path) -> str:
        """Make one archive of a study, as if it had been dropped on the page.

        It is renamed first: an image that comes now begins a study of its own, and is not lost.
        """
        place = place.rename(place.with_name(secrets.token_hex(16)))
        files = sorted(path for path in place.iterdir() if not path.name.startswith("."))
        size = sum(path.stat().st_size for path in files)
        with self.folder.new_upload() as (scan, path), zipfile.ZipFile(path, "w") as out:
            for file in files:
                out.write(file, file.name)
        label = printable(f"study from the network, {len(files)} images", keep="")
        self.folder.store.add(
            scan,
            label,
            ScanRequest(),
            files=len(files),
            size=size,
            send=self.node.send_to is not None,
        )
        shutil.rmtree(place)
        return scan

    def _is_full(self, place: Path) -> bool:
        names = list(place.iterdir())
        size = sum(path.stat().st_size for path in names[:1]) * len(names)
        free = shutil.disk_usage(place).free
        return len(names) >= self.limits.files or size > self.limits.bytes or free < SPARE_BYTES


@contextmanager
def listening(gathering: Gathering, host: str) -> Iterator[int]:
    """Listen for associations while the block runs; yields the port."""
    node = gathering.node
    entity = AE(node.title)
    entity.require_called_aet = True
    entity.require_calling_aet = list(node.allowed)
    entity.maximum_associations = MOST_ASSOCIATIONS
    entity.acse_timeout = entity.dimse_timeout = ASKING_S
    entity.network_timeout = IDLE_S
    entity.add_supported_context(Verification)
    for kind in (CTImageStorage, EnhancedCTImageStorage):
        entity.add_supported_context(kind, SYNTAXES)
    try:
        server = entity.start_server(
            (host, node.port), block=False, evt_handlers=[(evt.EVT_C_STORE, gathering.keep)]
        )
    except OSError as error:
        raise EnvironmentFault(
            f"cannot listen on {host} port {node.port} for DICOM",
            why=str(error),
            hint="choose another port for --dicom",
        ) from error
    assert server is not None  # noqa: S101 - it does not block
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


def keep_queueing(gathering: Gathering, ended: Any) -> None:
    """Queue studies when they are complete, until `ended` is set."""
    while not ended.wait(min(gathering.node.quiet_s / 4, 1.0)):
        try:
            gathering.queue_complete(now=time.time())
        except EnvironmentFault:
            continue  # the disk is full: the study stays, and is tried again


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""What goes back: the results of studies that came in, sent until the peer has taken them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom import AE

from luna.report.dicom.results import KEY_PATTERN, SEG_NAME, SR_NAME
from luna.run.errors import EnvironmentFault
from luna.serve.folder import Folder
from luna.serve.node.address import Node, Peer
from luna.serve.rows import Row

LOOK_S = 1.0
FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 600.0
"""A peer that is away is tried again after 10 s, 20 s, 40 s, …, and then every 10 minutes."""

ANSWER_S = 30


class UnsentError(Exception):
    """Why a peer did not take the results."""


def keep_sending(folder: Folder, node: Node, ended: Any) -> None:
    """Send results as they become ready, until `ended` is set."""
    while not ended.wait(LOOK_S):
        try:
            send_ready(folder, node, now=time.time())
        except EnvironmentFault:
            continue  # the disk is full: what is to be sent is still noted


def send_ready(folder: Folder, node: Node, *, now: float) -> None:
    """Send what is due; what cannot be sent stays due, and the row says why."""
    if node.send_to is None:
        return
    for row in folder.store.to_send(now):
        try:
            send(results_in(folder, row), node.send_to, node.title)
        except UnsentError as error:
            wait_s = min(FIRST_WAIT_S * 2**row.send_tries, LONGEST_WAIT_S)
            folder.store.not_sent(row.id, f"{node.send_to}: {error}", now + wait_s)
        else:
            folder.store.sent(row.id, str(node.send_to))


def results_in(folder: Folder, row: Row) -> list[Path]:
    """Return the SEG, the SR and the key images of a report. Raises UnsentError for none."""
    report = folder.report(row.id)
    named = [report / name for name in (SEG_NAME, SR_NAME)]
    found = [path for path in (*named, *sorted(report.glob(KEY_PATTERN))) if path.is_file()]
    if not found:
        raise UnsentError("the report has no DICOM results; its warnings say why")
    return found


def send(files: list[Path], peer: Peer, title: str) -> None:
    """Store files at a peer. Raises UnsentError unless it takes all of them."""
    objects = [dcmread(path) for path in files]
    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_S
    entity.connection_timeout = ANSWER_S
    for kind, syntax in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in objects}:
        entity.add_requested_context(kind, syntax)
    association = entity.associate(peer.host, peer.port, ae_title=peer.title)
    if not association.is_established:
        refused = "the association was refused" if association.is_rejected else "no answer"
        raise UnsentError(refused)
    try:
        for path, one in zip(files, objects, strict=True):
            _store(association, path, one)
    finally:
        association.release()


def _store(association: Any, path: Path, one: Any) -> None:
    try:
        status = association.send_c_store(one)
    except (ValueError, RuntimeError) as error:
        raise UnsentError(f"{path.name} is not taken there: {error}") from error
    if "Status" not in status:
        raise UnsentError(f"no answer about {path.name}")
    if status.Status != 0 and status.Status >> 12 != 0xB:  # 0xBxxx: taken, with a warning
        raise UnsentError(f"{path.name} is refused there with status 0x{status.Status:04X}")

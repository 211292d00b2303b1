"""The objects are stored in a real archive and found again (Debian's orthanc)."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO

from ...programs import program
from .conftest import UID, Case

Written = Callable[[str], tuple[Case, Path]]
Ask = Callable[..., Any]

DEADLINE_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Archive:
    """A running Orthanc: its REST interface, and the port where it takes C-STORE."""

    def __init__(self, web: int, dicom: int) -> None:
        self.web, self.dicom = web, dicom

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.web}{path}", data)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310  # our own
            return bytes(answer.read())

    def told(self, path: str, query: object = None) -> Any:
        data = None if query is None else json.dumps(query).encode()
        return json.loads(self.ask(path, data))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    path = program("Orthanc")
    if path is None:
        pytest.skip("Orthanc is not installed (apt install orthanc)")
    folder = tmp_path_factory.mktemp("orthanc")
    found = Archive(free_port(), free_port())
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [],
        "HttpPort": found.web,
        "DicomPort": found.dicom,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [path, str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT
    )
    try:
        wait_for(found, process, folder / "log")
        yield found
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        log.close()


def wait_for(archive: Archive, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            archive.ask("/system")
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"Orthanc did not start: {log.read_text(errors='replace')[-2000:]}")


def test_stored_by_rest_and_by_c_store_they_are_one_study(
    archive: Archive, written: Written, run_tool: Callable[..., str]
) -> None:
    case, out = written("axial")
    for path in (*case.path.iterdir(), out / "key-1.sc.dcm"):
        assert json.loads(archive.ask("/instances", path.read_bytes()))["Status"] == "Success"
    sent = [out / f"{name}.dcm" for name in ("nodules.seg", "measurements.sr", "report.pdf")]
    said = run_tool("storescu", "-R", "127.0.0.1", archive.dicom, *sent)
    assert "E:" not in said
    query = {"Level": "Study", "Expand": True, "Query": {"PatientID": "4711-X"}}
    (study,) = archive.told("/tools/find", query)
    assert study["MainDicomTags"]["StudyInstanceUID"] == f"{UID}.1"
    assert study["PatientMainDicomTags"]["PatientName"] == "Müller^Jörg"
    series = [archive.told(f"/series/{name}") for name in study["Series"]]
    modalities = sorted(item["MainDicomTags"]["Modality"] for item in series)
    assert modalities == ["CT", "DOC", "OT", "SEG", "SR"]


def test_what_comes_back_is_what_was_stored(archive: Archive, written: Written) -> None:
    _, out = written("axial")
    for name, modality in (("nodules.seg", "SEG"), ("measurements.sr", "SR")):
        stored = out / f"{name}.dcm"
        archive.ask("/instances", stored.read_bytes())
        query = {"Level": "Instance", "Expand": True, "Query": {"Modality": modality}}
        (found,) = archive.told("/tools/find", query)
        returned = archive.ask(f"/instances/{found['ID']}/file")
        assert pydicom.dcmread(DicomBytesIO(returned)) == pydicom.dcmread(stored)

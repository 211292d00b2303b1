"""The DICOM node against dcmtk's senders and a real Orthanc, on the loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
import requests
from pydicom.uid import RLELossless

from luna.ct.scan import Scan
from luna.nets.models import Models
from luna.run.errors import UsageError
from luna.serve.folder import Folder
from luna.serve.node.address import Node, Peer, checked_title, peer_of
from luna.serve.node.receive import SYNTAXES, Gathering, listening
from luna.serve.node.send import send_ready
from luna.serve.request import ScanRequest
from luna.serve.rows import Outcome
from luna.serve.upload import Limits

from ..dicom_chest import write_series
from ..programs import program

QUIET_S = 30.0


def dcmtk(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = program(name)
    if path is None:
        pytest.skip(f"no {name} (dcmtk) is installed to talk to the node with")
    command = [path, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def gather(folder: Folder) -> Iterator[Callable[..., tuple[Gathering, int]]]:
    """Start a node: (limits=…, **of the node)."""
    running = []

    def begin(limits: Limits | None = None, **values: object) -> tuple[Gathering, int]:
        node = Node(port=0, quiet_s=QUIET_S, **values)  # type: ignore[arg-type]
        gathering = Gathering(folder, node, limits or Limits())
        running.append(listening(gathering, "127.0.0.1"))
        return gathering, running[-1].__enter__()

    yield begin
    for one in running:
        one.__exit__(None, None, None)


@pytest.fixture
def study(nodule_chest: Scan, tmp_path: Path) -> Callable[[str], Path]:
    """A study as files: (uid)."""

    def write(uid: str) -> Path:
        tags = {"FrameOfReferenceUID": f"{uid}.9", "StudyInstanceUID": f"{uid}.8"}
        return write_series(tmp_path / uid, nodule_chest, uid, **tags)

    return write


def stored(port: int, *paths: Path, title: str = "LUNA", **options: str) -> int:
    calling = ["-aet", options["aet"]] if "aet" in options else []
    done = dcmtk("storescu", *calling, "-aec", title, "127.0.0.1", port, "+sd", *paths)
    return done.returncode


def mixed(*studies: Path) -> Path:
    """One folder of all, whose names put the studies' slices one after the other."""
    folder = studies[0].parent / "mixed"
    folder.mkdir()
    for path in (path for study in studies for path in study.iterdir()):
        shutil.copy(path, folder / f"{path.stem[-3:]}-{path.name}")
    return folder


def queued(gathering: Gathering) -> list[str]:
    """What is queued when all has been quiet for long enough."""
    return gathering.queue_complete(now=time.time() + QUIET_S + 1)


def test_echo_and_titles(gather) -> None:
    _, port = gather(allowed=("CT1",))
    assert dcmtk("echoscu", "-aet", "CT1", "-aec", "LUNA", "127.0.0.1", port).returncode == 0
    for calling, called in (("CT2", "LUNA"), ("CT1", "PACS")):
        refused = dcmtk("echoscu", "-aet", calling, "-aec", called, "127.0.0.1", port)
        assert refused.returncode != 0
    assert stored(port, aet="CT2") != 0


def test_two_studies_that_come_mixed_are_two_scans(gather, study) -> None:
    gathering, port = gather()
    one, two = study("1.21"), study("1.22")
    assert stored(port, mixed(one, two)) == 0
    assert gathering.queue_complete(now=time.time()) == []  # something may still come
    assert stored(port, one / "1.21-003.dcm") == 0  # once more, and it is there once
    ids = queued(gathering)
    rows = [gathering.folder.store.get(scan) for scan in ids]
    assert [row.files for row in rows] == [24, 24]
    assert {row.state for row in rows} == {"queued"}
    assert list(gathering.folder.studies.iterdir()) == []


def test_garbage_on_the_port_harms_nothing(gather, study) -> None:
    gathering, port = gather()
    for text in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(5000), b"\x01\0\xff\xff\xff\xff", b""):
        with socket.create_connection(("127.0.0.1", port)) as wire:
            wire.sendall(text)
    assert dcmtk("echoscu", "-aec", "LUNA", "127.0.0.1", port).returncode == 0
    assert list(gathering.folder.studies.iterdir()) == []


def test_more_than_a_study_may_hold_is_refused(gather, study) -> None:
    gathering, port = gather(limits=Limits(files=5))
    assert stored(port, study("1.23")) != 0
    (scan,) = queued(gathering)
    assert gathering.folder.store.get(scan).files == 5


def test_compressed_images_are_taken_as_they_are(gather, study) -> None:
    gathering, port = gather()
    assert RLELossless in SYNTAXES
    folder = study("1.24")
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(path)
    done = dcmtk("storescu", "-xr", "-aec", "LUNA", "127.0.0.1", port, "+sd", folder)
    assert done.returncode == 0, done.stderr
    kept = [path for place in gathering.folder.studies.iterdir() for path in place.iterdir()]
    assert len(kept) == 24
    assert {pydicom.dcmread(p).file_meta.TransferSyntaxUID for p in kept} == {RLELossless}


# A connection that fails leaves pynetdicom's socket to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_peer_that_is_away_is_tried_again_and_it_is_said(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    node = Node(port=0, send_to=Peer("127.0.0.1", port, "PACS"))
    for number, name in enumerate(("measurements.sr.dcm", "report.json")):
        scan = f"{number:032x}"
        folder.report(scan).mkdir(parents=True)
        shutil.copy(pydicom.data.get_testdata_file("reportsi.dcm"), folder.report(scan) / name)
        folder.store.add(scan, "s", ScanRequest(), files=1, size=1, send=True)
        folder.store.claim()
        folder.store.finish(scan, Outcome(state="done", entry={}))
    now = time.time()
    send_ready(folder, node, now=now)
    first, second = folder.store.get("0" * 32), folder.store.get("0" * 31 + "1")
    assert (first.send, first.send_tries, first.send_next) == ("wanted", 1, now + 10)
    assert first.send_note == f"127.0.0.1:{port}/PACS: no answer"
    assert "no DICOM results" in second.send_note
    assert folder.store.to_send(now + 9) == []
    send_ready(folder, node, now=now + 11)
    assert folder.store.get("0" * 32).send_next == now + 11 + 20


@pytest.mark.parametrize("text", ["", "pacs", "pacs:0/A", "pacs:99999/A", "pacs:1/", "pacs:1/a\\b"])
def test_peers_that_are_none_are_told(text: str) -> None:
    with pytest.raises(UsageError):
        peer_of(text)


@pytest.mark.parametrize("text", ["", " ", "A" * 17, "a\\b", "é", " A", "A\n"])
def test_titles_that_are_none_are_told(text: str) -> None:
    with pytest.raises(UsageError, match="not an AE title"):
        checked_title(text)


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A running Orthanc: its address for programs, and its DICOM port."""
    path = program("Orthanc")
    if path is None:
        pytest.skip("no Orthanc is installed to send results to")
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        http, dicom = a.getsockname()[1], b.getsockname()[1]
    config = tmp_path / "orthanc.json"
    config.write_text(
        json.dumps(
            {
                "StorageDirectory": str(tmp_path / "orthanc"),
                "IndexDirectory": str(tmp_path / "orthanc"),
                "HttpPort": http,
                "DicomPort": dicom,
                "DicomAet": "PACS",
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "DicomCheckCalledAet": True,
            }
        )
    )
    process = subprocess.Popen(
        [path, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{http}"
    for _ in range(300):
        try:
            requests.get(f"{address}/system", timeout=5)
            break
        except requests.ConnectionError:
            time.sleep(0.1)
    yield address, dicom
    process.send_signal(signal.SIGTERM)
    process.wait(30)


@pytest.mark.slow
def test_results_of_two_studies_come_back_to_orthanc(
    gather, study, orthanc: tuple[str, int], models: Models, working
) -> None:
    address, dicom = orthanc
    gathering, port = gather(send_to=Peer("127.0.0.1", dicom, "PACS"))
    store = gathering.folder.store
    assert stored(port, mixed(study("1.31"), study("1.32"))) == 0
    ids = queued(gathering)
    with working(gathering.folder, models):
        while any(store.get(scan).state in ("queued", "running") for scan in ids):
            time.sleep(0.1)
    assert [store.get(scan).state for scan in ids] == ["done", "done"], store.get(ids[0]).error
    send_ready(gathering.folder, gathering.node, now=time.time())
    assert [store.get(scan).send for scan in ids] == ["sent", "sent"], store.get(ids[0]).send_note
    back: dict[str, list[str]] = {}
    for name in requests.get(f"{address}/instances", timeout=30).json():
        tags = requests.get(f"{address}/instances/{name}/simplified-tags", timeout=30).json()
        assert tags["PatientID"] == "4711"
        back.setdefault(tags["StudyInstanceUID"], []).append(tags["Modality"])
    assert set(back) == {"1.31.8", "1.32.8"}
    for kinds in back.values():
        assert {kind: kinds.count(kind) for kind in ("SEG", "SR")} == {"SEG": 1, "SR": 1}
        assert len(kinds) == 2 + 4  # and a key image for each finding

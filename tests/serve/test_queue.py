"""The queue survives what ends a process, and nobody waits for ever."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from luna.nets.bundle import save_bundle
from luna.nets.models import Models
from luna.run.errors import EnvironmentFault, LunaError, UsageError
from luna.serve.clock import queue_seconds, seconds_left, typical_seconds
from luna.serve.folder import Folder, held
from luna.serve.request import ScanRequest
from luna.serve.rows import Outcome, Row
from luna.serve.store import MOST_ATTEMPTS, Store


def queue(folder: Folder, count: int = 1) -> list[str]:
    ids = [f"{number:032x}" for number in range(count)]
    for scan in ids:
        folder.scan(scan).mkdir()
        folder.upload(scan).write_bytes(b"x")
        folder.store.add(scan, f"scan {scan[-1]}", ScanRequest(), files=1, size=1)
    return ids


def test_scans_are_claimed_once_and_in_order(folder: Folder) -> None:
    ids = queue(folder, 40)
    claimed: list[str] = []

    def claim() -> None:
        while row := folder.store.claim():
            claimed.append(row.id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == ids
    assert folder.store.claim() is None


def test_what_was_running_is_queued_again_but_not_for_ever(folder: Folder) -> None:
    (scan, other) = queue(folder, 2)
    for attempt in range(MOST_ATTEMPTS):
        row = folder.store.claim()
        assert row is not None
        assert (row.id, row.attempts) == (scan, attempt + 1)
        folder.store.recover()
    row = folder.store.get(scan)
    assert row.state == "failed"
    assert "more than once" in row.error
    assert folder.store.get(other).state == "queued"


def test_an_end_on_purpose_does_not_count(folder: Folder) -> None:
    (scan,) = queue(folder)
    for _ in range(3 * MOST_ATTEMPTS):
        assert folder.store.claim() is not None
        folder.store.recover(counted=False)
    assert folder.store.get(scan).state == "queued"


def test_wishes_outlive_the_worker(folder: Folder) -> None:
    cancelled, deleted = queue(folder, 2)
    folder.store.claim()
    folder.store.claim()
    folder.store.cancel(cancelled)
    assert folder.store.delete(deleted) is False
    folder.store.recover()
    assert folder.store.get(cancelled).state == "cancelled"
    assert folder.store.ids() == {cancelled}


def test_cancelling_what_has_ended_changes_nothing(folder: Folder) -> None:
    (scan,) = queue(folder)
    folder.store.claim()
    folder.store.finish(scan, Outcome(state="done", entry={"findings": 0}))
    assert folder.store.cancel(scan).state == "done"
    assert folder.store.get(scan).entry == {"findings": 0}


def test_a_start_removes_what_no_row_names(tmp_path: Path) -> None:
    with held(tmp_path, pytest.fail) as folder:
        (scan,) = queue(folder)
        (folder.incoming / "half").mkdir()
        (folder.root / "scans" / "orphan").mkdir()
        (folder.root / "scans" / "orphan" / "upload.zip").write_bytes(b"a patient's")
        with pytest.raises(UsageError, match="another run"), held(tmp_path, pytest.fail):
            pass
    with held(tmp_path, pytest.fail) as folder:
        assert [path.name for path in (folder.root / "scans").iterdir()] == [scan]
        assert list(folder.incoming.iterdir()) == []


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="already holds files"), held(tmp_path, pytest.fail):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("scan", ["", "..", "../..", "a" * 31, "A" * 32, "0" * 31 + "/", "0" * 33])
def test_only_ids_become_paths(folder: Folder, scan: str) -> None:
    with pytest.raises(UsageError, match="no such scan"):
        folder.scan(scan)


def test_a_damaged_list_and_one_of_another_version_are_told(tmp_path: Path) -> None:
    path = tmp_path / "scans.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(LunaError, match="damaged"):
        Store(path)
    path.unlink()
    with sqlite3.connect(path) as rows:
        rows.execute("PRAGMA user_version = 99")
    rows.close()
    with pytest.raises(LunaError, match="another version"):
        Store(path)
    with pytest.raises(EnvironmentFault, match="cannot be used"):
        Store(tmp_path / "nowhere" / "scans.sqlite3")


def row(scan: str, **values: object) -> Row:
    made = Row(
        number=1, id=scan, label="", received=0.0, files=1, bytes=1, asked=ScanRequest(),
        state="queued",
        wish="", attempts=0, stage="", done=0, total=1, stage_began=None, ended=None, error="",
        hint="", patient="", name="", study_date="", entry=None, seconds={}, send="",
        send_note="", send_tries=0, send_next=0.0,
    )  # fmt: skip
    return replace(made, **values)  # type: ignore[arg-type]


def test_the_time_left_comes_from_earlier_scans() -> None:
    stages = {"read": 10.0, "lungs": 20.0, "segment": 40.0, "report": 30.0, "compare": 100.0}
    earlier = [row("a", seconds=stages), row("b", seconds={"read": 20.0})]
    typical = typical_seconds(earlier)
    assert typical == {**stages, "read": 15.0}
    assert seconds_left(row("c"), typical, 0) == 105.0  # nothing is compared
    assert seconds_left(row("c", asked=ScanRequest(prior="a")), typical, 0) == 205.0
    half = row("c", state="running", stage="segment", done=1, total=2, stage_began=100.0)
    assert seconds_left(half, typical, 110.0) == 10.0 + 30.0  # by its own pace, then the report
    late = row("c", state="running", stage="read", stage_began=0.0)
    assert seconds_left(late, typical, 1000.0) == 90.0
    assert queue_seconds([half, row("d")], typical, 110.0) == {"c": 40.0, "d": 145.0}
    assert queue_seconds([half, row("d")], {}, 110.0) == {"c": None, "d": None}


@pytest.fixture(scope="module")
def weights(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for bundle in models.bundles():
        save_bundle(bundle, folder / bundle.card.name)
    return folder


class Server:
    """`luna serve` in a process of its own."""

    def __init__(self, data: Path, weights: Path) -> None:
        command = [sys.executable, "-m", "luna", "serve", "--port", "0", "--data", str(data)]
        self.process = subprocess.Popen(
            [*command, "--weights", str(weights), "--device", "cpu", "--threads", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.process.communicate()

    def scans(self) -> list[dict[str, object]]:
        answer = requests.get(f"{self.url}/api/scans", timeout=60).json()
        return list(answer["scans"])

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told


@pytest.fixture
def started(tmp_path: Path, weights: Path) -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.process.kill()
        server.process.communicate()


@pytest.mark.slow
def test_a_server_that_is_killed_loses_no_scan(
    started: list[Server], tmp_path: Path, weights: Path, archive: Path
) -> None:
    started.append(Server(tmp_path / "data", weights))
    for _ in range(3):
        files = {"files": ("chest.zip", archive.read_bytes())}
        assert requests.post(f"{started[0].url}/api/scans", files=files, timeout=60).ok
    while not any(scan["stage"] for scan in started[0].scans()):
        pass  # until one is in the middle of its way
    assert started[0].end(signal.SIGKILL)[0] == -signal.SIGKILL
    # With the same folder: its lock went with the process, and its worker ends by itself.
    started.append(Server(tmp_path / "data", weights))
    while any(scan["state"] in ("queued", "running") for scan in started[1].scans()):
        pass
    assert [scan["state"] for scan in started[1].scans()] == ["done"] * 3
    code, told = started[1].end(signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert "Traceback" not in told
    assert list((tmp_path / "data" / "work").iterdir()) == []


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again(
    started: list[Server], tmp_path: Path, weights: Path, archive: Path
) -> None:
    started.append(Server(tmp_path / "data", weights))
    (worker,) = [
        int(pid)
        for pid in subprocess.run(
            ["pgrep", "-P", str(started[0].process.pid), "-f", "spawn_main"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    ]
    os.kill(worker, signal.SIGKILL)
    files = {"files": ("chest.zip", archive.read_bytes())}
    assert requests.post(f"{started[0].url}/api/scans", files=files, timeout=60).ok
    while started[0].scans()[0]["state"] in ("queued", "running"):
        pass
    assert started[0].scans()[0]["state"] == "done"
    assert requests.get(f"{started[0].url}/api/health", timeout=60).json()["worker"] is True
    assert "signal 9" in started[0].end(signal.SIGINT)[1]


@pytest.mark.slow
def test_weights_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "luna", "serve", "--data", str(tmp_path / "data")]
    empty = ["--port", "0", "--weights", str(tmp_path / "empty")]
    ended = subprocess.run([*command, *empty], check=False, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "no weights in this folder" in ended.stderr

"""A server in this process: its socket is real, and its worker is a thread with tiny networks."""

import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from torch import device

from luna.ct.scan import Scan
from luna.detect.config import DiagnoseConfig
from luna.nets.models import Models
from luna.phantom.cohort import write_metaimage
from luna.serve.api import Service
from luna.serve.app import build_app
from luna.serve.examine import Examiner, ExaminerSettings
from luna.serve.folder import Folder, held
from luna.serve.server import listen
from luna.serve.worker import run_queue

WAIT_S = 60


@dataclass(frozen=True)
class Client:
    """Talks to a server as a program does."""

    url: str
    folder: Folder

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, self.url + path, timeout=WAIT_S, **options)

    def send(self, *paths: Path, names: dict[Path, str] | None = None, **asked: Any) -> Any:
        """Send files as one scan; returns what the API tells of it."""
        files = [("files", ((names or {}).get(p, p.name), p.read_bytes())) for p in paths]
        answer = self.ask("POST", "/api/scans", files=files, params=asked)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def get(self, scan: str) -> Any:
        return self.ask("GET", f"/api/scans/{scan}").json()

    def wait(self, scan: str, *states: str) -> Any:
        """Wait until a scan is in one of some states."""
        pause = threading.Event()
        for _ in range(WAIT_S * 20):
            found = self.get(scan)
            if found["state"] in (states or ("done", "failed", "cancelled")):
                return found
            pause.wait(0.05)
        raise AssertionError(found)


@contextmanager
def listening(service: Service) -> Iterator[str]:
    """Serve in a thread, and yield the address."""
    with listen("127.0.0.1", 0) as socket:
        server = uvicorn.Server(
            uvicorn.Config(build_app(service), log_level="critical", ws="none", lifespan="off")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def working(folder: Folder, models: Models, **settings: Any) -> Iterator[None]:
    """Look at queued scans in a thread."""
    stop = threading.Event()
    examiner = Examiner(
        folder=folder,
        models=models,
        device=device("cpu"),
        settings=ExaminerSettings(weights=(), config=DiagnoseConfig(), device="cpu", **settings),
    )
    thread = threading.Thread(target=run_queue, args=(examiner, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(name="working", scope="session")
def working_fixture() -> Callable[..., Any]:
    """Look at queued scans while a block runs: (folder, models, **settings)."""
    return working


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """The folder of a server."""
    with held(tmp_path / "data", pytest.fail) as folder:
        yield folder


@pytest.fixture
def start(folder: Folder) -> Iterator[Callable[..., Client]]:
    """Start a server: (access=…, limits=…, worker_lives=…)."""
    running = []

    def begin(**options: Any) -> Client:
        running.append(listening(Service(folder=folder, **options)))
        return Client(running[-1].__enter__(), folder)

    yield begin
    for one in running:
        one.__exit__(None, None, None)


@pytest.fixture
def client(start: Callable[..., Client]) -> Client:
    """A server on which nobody looks at scans: they stay queued."""
    return start()


@pytest.fixture
def busy(client: Client, models: Models) -> Iterator[Client]:
    """A server that looks at scans."""
    with working(client.folder, models):
        yield client


@pytest.fixture(scope="session")
def volume(nodule_chest: Scan, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A chest with four nodules: a header and its data."""
    folder = tmp_path_factory.mktemp("volume")
    write_metaimage(folder / "1.2.840.mhd", nodule_chest.hu, nodule_chest.geometry)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def archive(volume: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a .zip."""
    path = tmp_path_factory.mktemp("archive") / "chest.zip"
    with zipfile.ZipFile(path, "w") as out:
        for file in volume:
            out.write(file, file.name)
    return path

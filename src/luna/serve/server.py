"""`serve`: a folder held, a worker kept, and a socket listened on, until a signal comes."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs
import uvicorn

from luna.run.errors import EnvironmentFault
from luna.serve.access import Access, is_loopback, read_token
from luna.serve.api import Service
from luna.serve.app import build_app
from luna.serve.examine import ExaminerSettings
from luna.serve.folder import Folder, held
from luna.serve.node.address import Node
from luna.serve.process import Loaded, running_worker
from luna.serve.upload import Limits

BACKLOG = 128
GOODBYE_S = 3
"""How long an upload that is under way may keep a server from ending."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a server listens, for whom, and where it keeps its scans."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 8765
    names: tuple[str, ...] = ()
    token_file: Path | None = None
    limits: Limits = field(default_factory=Limits)
    node: Node | None = None


def serve(
    place: Place,
    settings: ExaminerSettings,
    warn: Callable[[str], None],
    listening: Callable[[str, Loaded], None],
) -> None:
    """Serve the page and the API until a signal comes; `listening` is called with the address.

    Raises UsageError where a token is needed or the folder is not a server's, EnvironmentFault
    where the port is taken, and what keeps the networks from being loaded.
    """
    token = read_token(place.token_file, place.host)
    names = {name.lower() for name in place.names}
    if not is_loopback(place.host):
        names |= {place.host.lower(), socket.gethostname().lower()}
    with (
        listen(place.host, place.port) as listener,
        held(place.data, warn) as folder,
        running_worker(folder, settings, warn) as worker,
        running_node(folder, place),
    ):
        loaded = worker.wait_until_ready()
        access = Access(names=frozenset(names), token=token)
        service = Service(
            folder=folder, access=access, limits=place.limits, worker_lives=worker.lives
        )
        listening(_address(listener), loaded)
        config = uvicorn.Config(
            build_app(service),
            log_level="warning",
            access_log=False,  # addresses hold what is asked about patients
            server_header=False,
            timeout_graceful_shutdown=GOODBYE_S,
            ws="none",
        )
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def running_node(folder: Folder, place: Place) -> Iterator[None]:
    """Take studies from the network and send results back while the block runs, if asked for."""
    if place.node is None:
        yield
        return
    from luna.serve.node.receive import Gathering, keep_queueing, listening
    from luna.serve.node.send import keep_sending

    gathering, ended = Gathering(folder, place.node, place.limits), threading.Event()
    threads = [
        threading.Thread(target=keep_queueing, args=(gathering, ended)),
        threading.Thread(target=keep_sending, args=(folder, place.node, ended)),
    ]
    with listening(gathering, place.host):
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def listen(host: str, port: int) -> socket.socket:
    """Open the socket of a server. Raises EnvironmentFault where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise EnvironmentFault(
            f"cannot listen on {host} port {port}",
            why="another program does" if taken else str(error),
            hint="choose another --port" if taken else "choose another --host or --port",
        ) from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def own_folder() -> Path:
    """Return where scans are kept without --data: among the user's application data."""
    return platformdirs.user_data_path("luna", appauthor=False) / "serve"

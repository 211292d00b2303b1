"""`luna weights fetch` and `list`, against a server of this process."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from luna.nets import fetch
from luna.nets.bundle import build_network

Luna = Callable[..., Any]
NAME = "cls_tiny.best.state"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A checkpoint in the book's form that luna takes for the published one."""
    renamed = {"input_norm": "tail_batchnorm", "head": "head_linear", "blocks.0": "block1"}
    tensors = {}
    for name, tensor in build_network("classifier", {"widths": [2]}).state_dict().items():
        for ours, books in renamed.items():
            if name.startswith(ours + "."):
                tensors[books + name.removeprefix(ours)] = tensor
    torch.save({"model_state": tensors}, tmp_path / "made.state")
    content = (tmp_path / "made.state").read_bytes()
    monkeypatch.setattr(fetch, "PUBLISHED", {NAME: hashlib.sha256(content).hexdigest()})
    return content


class Server(HTTPServer):
    """Serves `content` under any name ending in NAME, packed for who can unpack; remembers what
    was asked."""

    content = b""
    cut_at: int | None = None
    slow: str | None = None
    ranges: list[str | None]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/models"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if not self.path.endswith("/models/" + NAME) or not self.server.content:
            self.send_error(404)
            return
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        packed = "gzip" in self.headers.get("Accept-Encoding", "")
        body = (gzip.compress(self.server.content) if packed else self.server.content)[begin:]
        if not body:
            self.send_error(416)
            return
        if self.server.slow == "headers":
            self.drip(b"HTTP/1.0 200 OK\r\nX: " + b"y" * 400)
            return
        self.send_response(206 if asked else 200)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.slow == "body":
            self.drip(body)
            return
        self.wfile.write(body[: self.server.cut_at])

    def drip(self, content: bytes) -> None:
        """A byte now and then, until the client has gone."""
        with suppress(OSError):
            for k in range(400):
                self.wfile.write(content[k : k + 1])
                self.wfile.flush()
                time.sleep(0.02)

    def log_message(self, *arguments: object) -> None:
        """No lines on stderr."""


@pytest.fixture
def server(stream: bytes) -> Iterator[Server]:
    with Server() as running:
        running.content = stream
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_fetched_checkpoint_becomes_a_bundle_that_is_not_fetched_again(
    luna: Luna, server: Server
) -> None:
    first = luna("weights", "fetch", "book", "--from", server.url)
    assert first.code == 0
    assert f"fetching {server.url}/{NAME}" in first.err
    assert "means these" in first.err
    again = luna("weights", "fetch", "book", "--from", server.url)
    assert again.out == first.out
    assert "already here, checked" in again.err
    assert "fetching" not in again.err
    assert len(server.ranges) == 1
    info = luna("weights", "info", first.out.strip(), "--json")
    assert json.loads(info.out)["role"] == "nodule"
    listed = luna("weights", "list")
    assert listed.out.splitlines()[-1].split("\t")[:3] == ["fetched", "nodule", "cls_tiny"]


def test_a_damaged_bundle_is_made_anew(luna: Luna, server: Server) -> None:
    folder = Path(luna("weights", "fetch", "book", "--from", server.url).out.strip())
    (folder / "model.safetensors").write_bytes(b"x")
    assert luna("weights", "fetch", "book", "--from", server.url).code == 0
    assert luna("weights", "info", folder).code == 0


def test_half_a_file_is_kept_and_gone_on_with(
    luna: Luna, server: Server, stream: bytes, tmp_path: Path
) -> None:
    server.cut_at = len(stream) // 2
    broken = luna("weights", "fetch", "book", "--from", server.url)
    assert broken.code == 4
    (part,) = (tmp_path / "cache").rglob("*.part")
    kept = part.stat().st_size
    assert 0 < kept <= server.cut_at
    assert f"{kept} bytes are kept" in broken.err
    assert "fetched" not in luna("weights", "list").out
    server.cut_at = None
    assert luna("weights", "fetch", "book", "--from", server.url).code == 0
    assert server.ranges == [None, f"bytes={kept}-"]


def test_a_whole_file_that_a_kill_left_is_taken(
    luna: Luna, server: Server, stream: bytes, tmp_path: Path
) -> None:
    part = tmp_path / "cache" / "luna" / "downloads" / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(stream)
    assert luna("weights", "fetch", "book", "--from", server.url).code == 0
    assert not part.exists()


def test_another_file_is_refused_and_not_kept(luna: Luna, server: Server, tmp_path: Path) -> None:
    server.content = server.content[:-1] + b"?"
    outcome = luna("weights", "fetch", "book", "--from", server.url)
    assert outcome.code == 6
    assert "not the published checkpoint (SHA-256 differs)" in outcome.err
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert [p for p in kept if p.suffix != ".lock"] == []


def test_a_server_without_the_file(luna: Luna, server: Server) -> None:
    server.content = b""
    outcome = luna("weights", "fetch", "book", "--from", server.url)
    assert outcome.code == 4
    assert "the server answers 404" in outcome.err


def test_no_server(luna: Luna, stream: bytes) -> None:
    outcome = luna("weights", "fetch", "book", "--from", "http://127.0.0.1:9/models")
    assert outcome.code == 4
    assert "the download failed" in outcome.err
    assert "--from" in outcome.err


@pytest.mark.parametrize(
    ("address", "proxy"), [("http://", ""), ("http://[::1", ""), ("http://127.0.0.1:9", "http://")]
)
def test_an_address_or_proxy_that_is_none_is_not_taken_for_a_wrong_file(
    luna: Luna, stream: bytes, monkeypatch: pytest.MonkeyPatch, address: str, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    outcome = luna("weights", "fetch", "book", "--from", address)
    assert outcome.code == 4
    assert "the download failed" in outcome.err


@pytest.mark.parametrize("name", ["downloads", "book"])
def test_a_cache_that_cannot_be_made(luna: Luna, stream: bytes, tmp_path: Path, name: str) -> None:
    (tmp_path / "cache" / "luna").mkdir(parents=True)
    (tmp_path / "cache" / "luna" / name).write_bytes(b"")
    (tmp_path / NAME).write_bytes(stream)
    outcome = luna("weights", "fetch", "book", "--from", tmp_path)
    assert outcome.code == 4
    assert "choose another XDG_CACHE_HOME folder" in outcome.err


def test_from_a_folder(luna: Luna, stream: bytes, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    missing = luna("weights", "fetch", "book", "--from", stick)
    assert missing.code == 3
    assert NAME in missing.err
    (stick / NAME).write_bytes(stream + b"?")
    assert luna("weights", "fetch", "book", "--from", stick).code == 6
    (stick / NAME).write_bytes(stream)
    assert luna("weights", "fetch", "book", "--from", stick).code == 0


@pytest.mark.parametrize("source", ["ftp://host/models", "file:///models", "", " "])
def test_from_what_is_neither_address_nor_folder(luna: Luna, stream: bytes, source: str) -> None:
    outcome = luna("weights", "fetch", "book", "--from", source)
    assert outcome.code == 2
    assert f"neither an http(s) address nor a folder ({source!r})" in outcome.err


def test_from_the_file_itself(luna: Luna, stream: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(stream)
    outcome = luna("weights", "fetch", "book", "--from", NAME)
    assert outcome.code == 2
    assert "name the folder that holds it" in outcome.err


def test_book_is_a_name_for_diagnose(
    luna: Luna, stream: bytes, small_cohort: Path, tmp_path: Path
) -> None:
    scan = next(small_cohort.rglob("*.mhd"))
    arguments = ("diagnose", scan, "--weights", "book", "--out", tmp_path / "report")
    unfetched = luna(*arguments)
    assert unfetched.code == 2
    assert "luna weights fetch book" in unfetched.err
    (tmp_path / "cache" / "luna" / "book" / "another").mkdir(parents=True)
    assert luna(*arguments).err == unfetched.err
    (tmp_path / "book").mkdir()
    ambiguous = luna(*arguments)
    assert ambiguous.code == 2
    assert "both a path here and the name" in ambiguous.err


def test_trained_and_damaged_bundles_are_listed(luna: Luna, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "nodule-1-a" / "bundle"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text("{}")
    listed = luna("weights", "list", "--runs", tmp_path / "runs")
    assert listed.code == 0
    assert "card version None" in listed.out
    assert json.loads(luna("weights", "list", "--json").out)[-1]["origin"] == "trained"


@pytest.mark.shared_data
def test_the_published_checkpoints_are_the_ones_we_pin(luna: Luna, book_models: Path) -> None:
    outcome = luna("weights", "fetch", "book", "--from", book_models)
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) == 2


@pytest.mark.parametrize("slow", ["headers", "body"])
def test_a_server_that_drips_is_given_up(
    luna: Luna, server: Server, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    monkeypatch.setattr(fetch, "RATE_SPAN_S", 0.5)
    server.slow = slow
    begun_s = time.monotonic()
    outcome = luna("weights", "fetch", "book", "--from", server.url)
    assert time.monotonic() - begun_s < 5
    assert outcome.code == 4
    assert "the download failed" in outcome.err
    assert "too slow" in outcome.err


def test_a_download_has_an_end(luna: Luna, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "DOWNLOAD_S_MAX", 0.5)
    monkeypatch.setattr(fetch, "LEAST_BYTES_PER_S", 0)
    server.slow = "body"
    assert luna("weights", "fetch", "book", "--from", server.url).code == 4


def test_a_password_in_the_address_is_hidden(luna: Luna, server: Server) -> None:
    secret = server.url.replace("http://", "http://me:S3CRET@")
    server.content = b""
    outcome = luna("weights", "fetch", "book", "--from", secret)
    assert outcome.code == 4
    assert "S3CRET" not in outcome.err
    assert "http://…@127.0.0.1" in outcome.err


def test_a_user_without_a_home_has_no_folder_for_downloads(
    luna: Luna, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(project: str) -> str:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(fetch.pooch, "os_cache", refuse)
    outcome = luna("weights", "fetch", "book")
    assert outcome.code == 4
    assert "set HOME or XDG_CACHE_HOME" in outcome.err
    assert "shipped" in luna("weights", "list").out


def test_several_fetches_at_once_ask_for_a_file_once(stream: bytes, server: Server) -> None:
    """Each waits for the one that began, and then finds the bundle there."""
    server.content, told = stream, list[str]()
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(fetch.fetch_book, server.url, told.append) for _ in range(4)]
        bundles = [run.result(timeout=60) for run in runs]
    assert len({tuple(found) for found in bundles}) == 1
    assert server.ranges == [None]
    assert sum(line.startswith("fetching ") for line in told) == 1

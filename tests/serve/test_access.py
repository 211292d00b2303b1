"""Who may talk to the server, and what no upload can do to it."""

import http.client
import io
import shutil
import socket
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from luna.run.errors import EnvironmentFault, UsageError
from luna.serve.access import COOKIE, Access, is_loopback, read_token
from luna.serve.server import Place, serve
from luna.serve.upload import Limits

TOKEN = "0123456789abcdef-token"  # noqa: S105 - of no server


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:8765", 200), ("192.168.1.7", 200)),
        *(("evil.example", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421)),
        *(("", 421), ("[::1", 421), ("a@b@localhost:x]", 421), ("luna.clinic", 200)),
    ],
)
def test_only_its_own_names_are_answered(start, host: str, status: int) -> None:
    client = start(access=Access(names=frozenset({"luna.clinic"})))
    for path in ("/", "/api/scans", "/openapi.json"):
        assert client.ask("GET", path, headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),  # a program
        ({"Origin": "http://{host}"}, 201),
        ({"Origin": "http://{host}", "Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),  # another server of this machine
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_other_sites_change_nothing(
    client, archive: Path, headers: dict[str, str], status: int
) -> None:
    host = urlsplit(client.url).netloc
    sent = {name: value.format(host=host) for name, value in headers.items()}
    files = [("files", ("scan.zip", archive.read_bytes()))]
    assert client.ask("POST", "/api/scans", headers=sent, files=files).status_code == status
    assert len(client.folder.store.ids()) == (status == 201)
    if status == 403:
        assert client.ask("DELETE", f"/api/scans/{'0' * 32}", headers=sent).status_code == 403


def test_a_token_is_needed_for_everything_that_tells_of_scans(start, archive: Path) -> None:
    client = start(access=Access(token=TOKEN))
    good = {"Authorization": f"Bearer {TOKEN}"}
    sent = client.ask(
        "POST", "/api/scans", headers=good, files=[("files", ("s.zip", archive.read_bytes()))]
    ).json()
    paths = [
        "/api/scans",
        *(f"/api/scans/{sent['id']}{tail}" for tail in ("", "/files", "/priors")),
    ]
    paths += [f"/scans/{sent['id']}/report", f"/api/scans/{sent['id']}/files/report.json", "/nope"]
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": TOKEN},
    ]
    wrong += [{"Authorization": "Bearer"}, {"Cookie": f"{COOKIE}={TOKEN}"}, {"Cookie": '=;;"='}]
    for path in paths:
        assert [client.ask("GET", path, headers=w).status_code for w in wrong] == [401] * len(wrong)
        assert client.ask("GET", path, headers=good).status_code in (200, 404)
    for method, path in (("POST", "/api/scans"), ("DELETE", f"/api/scans/{sent['id']}")):
        assert client.ask(method, path).status_code == 401
    for path in ("/", "/page.js", "/page.css", "/openapi.json", "/api/health"):
        assert client.ask("GET", path).status_code == 200
    assert client.ask("GET", "/api/health").json()["token"] is True


def test_the_token_gives_a_cookie_that_is_not_the_token(start) -> None:
    client = start(access=Access(token=TOKEN))
    assert client.ask("POST", "/api/session", json={"token": "wrong"}).status_code == 401
    answer = client.ask("POST", "/api/session", json={"token": TOKEN})
    assert answer.status_code == 204
    told = answer.headers["set-cookie"]
    assert TOKEN not in told
    assert "HttpOnly" in told
    assert "SameSite=strict" in told
    cookies = {COOKIE: answer.cookies[COOKIE]}
    assert client.ask("GET", "/api/scans", cookies=cookies).status_code == 200
    ended = client.ask("DELETE", "/api/session", cookies=cookies)
    assert 'luna_session=""' in ended.headers["set-cookie"]


def test_others_are_let_in_only_with_a_token(tmp_path: Path) -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "clinic", ""))  # noqa: S104
    unused: Any = None
    with pytest.raises(UsageError, match="a token is needed"):
        serve(Place(data=tmp_path / "data", host="0.0.0.0"), unused, unused, unused)  # noqa: S104
    assert not (tmp_path / "data").exists()
    token = tmp_path / "token"
    for text in ("", "short", "a" * 15, "two words of a token", "é" * 20, "a" * 5000):
        token.write_text(text)
        with pytest.raises(UsageError, match="token"):
            read_token(token, "localhost")
    token.write_text(f"{TOKEN}\n")
    assert read_token(token, "0.0.0.0") == TOKEN  # noqa: S104
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(tmp_path / "nowhere", "localhost")


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    unused: Any = None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = Place(data=tmp_path / "data", port=taken.getsockname()[1])
        with pytest.raises(EnvironmentFault, match=r"another program does"):
            serve(place, unused, unused, unused)
    assert not (tmp_path / "data").exists()


def test_every_answer_says_what_a_browser_may_do_with_it(client) -> None:
    for path in ("/", "/page.js", "/api/scans", "/api/nope", "/api/scans/x"):
        headers = client.ask("GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers or "uvicorn" in headers["server"]
    page = client.ask("GET", "/").text + client.ask("GET", "/page.css").text
    assert "http" not in page.replace("http-equiv", "")
    assert "style=" not in page
    assert "onclick" not in page


HOSTILE = ["../../../escaped.mhd", "/etc/escaped.mhd", "a/../../escaped.mhd", "..\\..\\escaped.mhd"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_lead_out_are_refused_and_write_nothing(busy, name: str) -> None:
    boundary = "luna"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        f"NDims = 3\r\n--{boundary}--\r\n"
    ).encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = busy.ask("POST", "/api/scans", data=body, headers=kind)
    row = busy.wait(answer.json()["id"])
    assert row["state"] == "failed"
    assert "escaped" not in {p.stem for p in busy.folder.root.parent.rglob("*")}
    assert not Path("/etc/escaped.mhd").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_archives_whose_members_lead_out_are_refused(busy, tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(name, "NDims = 3")
    row = busy.wait(busy.send(path)["id"])
    assert row["state"] == "failed"
    assert "a member of the archive is a" in row["error"]
    assert list(busy.folder.work.iterdir()) == []


def test_an_archive_that_unpacks_to_too_much_is_refused(busy, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("1.2.raw", bytes(50_000_000))
    row = busy.wait(busy.send(path)["id"])
    assert "implausibl" in row["error"]


@pytest.mark.parametrize("path", ["/..%2f..%2fscans.sqlite3", "/%2e%2e/scans.sqlite3", "/../x"])
def test_addresses_are_no_paths(client, archive: Path, path: str) -> None:
    scan = client.send(archive)["id"]
    connection = http.client.HTTPConnection(urlsplit(client.url).netloc)
    for start_of in (f"/api/scans/{scan}/files", f"/scans/{scan}", "/api/scans", ""):
        connection.request("GET", start_of + path)
        answer = connection.getresponse()
        assert answer.status in (404, 405)
        assert b"SQLite" not in answer.read()
    connection.close()


def test_uploads_are_bounded_in_bytes_and_files(start, archive: Path, volume: list[Path]) -> None:
    client = start(limits=Limits(bytes=10_000, files=1))

    def status(**options: Any) -> int:
        answer = client.ask("POST", "/api/scans", **options)
        if answer.status_code == 413:
            assert "too large" in answer.json()["error"]
        return answer.status_code

    assert status(files=[("files", ("s.zip", archive.read_bytes()))]) == 413
    small = [("files", (f"{n}.dcm", b"x" * 100)) for n in range(2)]
    assert status(files=small) == 413
    assert status(files=small[:1]) == 201

    def without_length() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.zip"\r\n\r\n'
        for _ in range(100):
            yield bytes(1000)
        yield b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert status(data=without_length(), headers=kind) == 413
    assert len(client.folder.store.ids()) == 1
    assert list(client.folder.incoming.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"{}", "application/json", "no form of files"),
        (b"x", "multipart/form-data", "no form of files"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", "no file came"),
        (b"nonsense", "multipart/form-data; boundary=b", "damaged"),
        (
            b'--b\r\nContent-Disposition: form-data; name="age"\r\n\r\n66\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            "no file",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.dcm"\r\n\r\nhalf',
            "multipart/form-data; boundary=b",
            "broken off",
        ),
    ],
)
def test_what_is_no_upload_is_said(client, body: bytes, kind: str, words: str) -> None:
    answer = client.ask("POST", "/api/scans", data=body, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert client.folder.store.ids() == set()
    assert list(client.folder.incoming.iterdir()) == []


def test_a_connection_that_breaks_leaves_nothing(client) -> None:
    connection = http.client.HTTPConnection(urlsplit(client.url).netloc)
    connection.putrequest("POST", "/api/scans")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.zip"\r\n\r\n')
    connection.send(bytes(1000))
    connection.close()
    for _ in range(200):
        if not list(client.folder.incoming.iterdir()):
            break
        client.ask("GET", "/api/health")
    assert list(client.folder.incoming.iterdir()) == []
    assert client.folder.store.ids() == set()


def test_a_full_disk_is_said_and_keeps_nothing(
    client, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(client.folder.root)._replace(free=1000)
    monkeypatch.setattr("luna.serve.upload.shutil.disk_usage", lambda path: full)
    files = [("files", ("s.zip", archive.read_bytes()))]
    answer = client.ask("POST", "/api/scans", files=files)
    assert answer.status_code == 507
    assert "the disk is full" in answer.json()["error"]
    assert answer.json()["hint"]
    monkeypatch.undo()

    class Full(io.FileIO):
        def write(self, data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, mode: Full(str(path), "w"))
    answer = client.ask("POST", "/api/scans", files=files)
    assert answer.status_code == 507
    assert "the disk is full" in answer.json()["error"]
    assert client.folder.store.ids() == set()
    assert list(client.folder.incoming.iterdir()) == []

"""An upload as it comes in: a form of files, written to one archive on disk.

Starlette would keep each small file in memory until the last one is there. Here the parts of the
form go straight to the disk. A single `.zip` stays as it is; other files become members of an
archive of our own. In both cases the names are only ever looked at by the guarded reader of
archives (`luna.ct.archive`), which refuses those that lead out of it.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from luna.ct.archive import MAX_BYTES, MAX_MEMBERS
from luna.run.errors import EnvironmentFault, UsageError
from luna.run.text import printable

NAME_MAX = 1000
"""Characters of a file's name with its folders."""

LABEL_MAX = 200

SPARE_BYTES = 1 << 28
"""What an upload leaves free on the disk: reports and the list need room, too."""


class TooLargeError(UsageError):
    """More bytes, or more files, than the server takes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one upload may hold."""

    bytes: int = MAX_BYTES
    files: int = MAX_MEMBERS


@dataclass(frozen=True, slots=True)
class Received:
    """What came: a label for people, the number of files, and their bytes."""

    label: str
    files: int
    bytes: int


async def receive(request: Request, out: Path, limits: Limits) -> Received:
    """Write the files of a form to an archive.

    Raises TooLargeError, UsageError for what is no form of files or breaks off, and
    EnvironmentFault where the disk has no room.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise UsageError(
            "no form of files", hint="send multipart/form-data, as `curl -F files=@scan.zip`"
        )
    announced = request.headers.get("content-length", "0")
    _check_room(out, int(announced) if announced.isdigit() else 0, limits)
    archive = _Archive(out, limits)
    try:
        await _write_stream(request.stream(), _parser(options[b"boundary"], archive))
    except FormParserError as error:
        raise UsageError("the form is damaged", why=str(error)) from error
    except ClientDisconnect as error:
        raise UsageError("the upload was broken off") from error
    finally:
        await run_in_threadpool(archive.close)
    return archive.received()


def _check_room(out: Path, announced: int, limits: Limits) -> None:
    if announced > limits.bytes:
        raise _too_large(f"{announced:,} bytes", limits)
    free = shutil.disk_usage(out.parent).free
    if announced + SPARE_BYTES > free:
        raise EnvironmentFault(
            "the disk is full",
            why=f"{announced:,} bytes are to come, {free:,} are free, of which luna leaves "
            f"{SPARE_BYTES:,}",
            hint="delete earlier scans, or free some space",
        )


def _too_large(what: str, limits: Limits) -> TooLargeError:
    return TooLargeError(
        "the upload is too large",
        why=f"{what}; the most are {limits.bytes:,} bytes and {limits.files:,} files",
        hint="send one study at a time",
    )


async def _write_stream(stream: AsyncIterator[bytes], parser: MultipartParser) -> None:
    async for chunk in stream:
        if chunk:
            await run_in_threadpool(parser.write, chunk)  # which writes to the disk
    parser.finalize()


class _Archive:
    """Takes the files of a form one after the other."""

    def __init__(self, out: Path, limits: Limits) -> None:
        self._out, self._limits = out, limits
        self._names: list[str] = []
        self._bytes, self._ended = 0, False
        self._zip: zipfile.ZipFile | None = None
        self._sink: IO[bytes] | None = None

    def begin(self, name: str) -> None:
        """Take the name of the next file."""
        if len(self._names) >= self._limits.files:
            raise _too_large(f"more than {self._limits.files:,} files", self._limits)
        if len(name) > NAME_MAX or "\0" in name:
            raise UsageError("a file's name is too long or damaged", why=name[:80])
        self._names.append(name)
        if len(self._names) > 1 and self._zip is None:
            raise UsageError("a .zip is sent alone", hint="send several scans one by one")
        if len(self._names) == 1 and name.lower().endswith(".zip"):
            self._sink = self._out.open("wb")
            return
        if self._zip is None:
            self._zip = zipfile.ZipFile(self._out, "w")  # stored: most scans do not shrink much
        self._sink = self._zip.open(zipfile.ZipInfo(name), "w", force_zip64=True)

    def write(self, data: bytes) -> None:
        """Take some bytes of the file that was begun."""
        self._bytes += len(data)
        if self._bytes > self._limits.bytes:
            raise _too_large(f"more than {self._limits.bytes:,} bytes", self._limits)
        if self._sink is not None:
            self._sink.write(data)

    def end(self) -> None:
        """Close the file that was received to its end."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def ended(self) -> None:
        """Note that the form was received to its end."""
        self._ended = True

    def close(self) -> None:
        """Write out what is still held."""
        self.end()
        if self._zip is not None:
            self._zip.close()

    def received(self) -> Received:
        """Return what came. Raises UsageError where that is nothing, or not all."""
        if not self._ended:
            raise UsageError("the upload was broken off")
        if not self._bytes:
            raise UsageError("no file came, or only empty ones", hint="drop the files of a scan")
        return Received(_label(self._names), len(self._names), self._bytes)


def _label(names: list[str]) -> str:
    """Return the folder, or the first file, that the sender dropped."""
    first = names[0].replace("\\", "/").strip("/").split("/")
    more = f" and {len(names) - 1} more" if len(names) > 1 and len(first) == 1 else ""
    return printable(first[0][: LABEL_MAX - len(more)] + more, keep="")


def _parser(boundary: bytes, archive: _Archive) -> MultipartParser:
    """A parser that tells the archive what comes; parts of the form without a file are errors."""
    headers: dict[bytes, bytes] = {}
    part: dict[str, bytes] = {"field": b"", "value": b""}

    def add(name: str) -> Any:
        def collect(data: bytes, start: int, end: int) -> None:
            part[name] += data[start:end]

        return collect

    def header_end() -> None:
        headers[part["field"].lower()] = part["value"]
        part.update(field=b"", value=b"")

    def headers_finished() -> None:
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        headers.clear()
        if b"filename" not in options:
            raise UsageError("a part of the form is no file", hint="options go into the address")
        archive.begin(options[b"filename"].decode("utf-8", "replace"))

    return MultipartParser(
        boundary,
        {
            "on_header_field": add("field"),
            "on_header_value": add("value"),
            "on_header_end": header_end,
            "on_headers_finished": headers_finished,
            "on_part_data": lambda data, start, end: archive.write(data[start:end]),
            "on_part_end": archive.end,
            "on_end": archive.ended,
        },
    )

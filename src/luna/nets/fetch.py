"""The book's published checkpoints: fetched once, checked, and kept as bundles of this user.

<user cache>/downloads/    what came over the network, with its SHA-256 checked
<user cache>/book/         the bundles made of it; `--weights book` means this folder
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pooch

from luna.nets.book import import_state
from luna.nets.bundle import load_bundle, save_bundle
from luna.nets.card import CARD_NAME
from luna.run.errors import EnvironmentFault, InputError, TrustError, UsageError
from luna.run.files import replace_file, write_fault
from luna.run.lock import lock_file

PUBLISHED = {
    "seg_2020-01-26_19.45.12_w4d3c1-bal_1_nodupe-label_pos-d1_fn8-adam.best.state": (
        "cb3291697a78d99d347054d9236f43e6acd79646861864b03fc109af38ba88fb"
    ),
    "cls_2020-02-06_14.16.55_final-nodule-nonnodule.best.state": (
        "0f2af10e3bb0f5159cb6ea0df97a2d9f4ac824e28d18a3f18746f39de5bb0727"
    ),
}
"""SHA-256 of the segmentation and the classification model of chapter 14."""

SOURCE = (
    "https://raw.githubusercontent.com/deep-learning-with-pytorch/dlwpt-code/"
    "c66edc162fa0fdbc4267c67e8155bbad1fcfb85a/data/part2/models"
)
"""The commit that added the two files to the book's public repository."""

BYTES_MAX = 64 << 20
CHUNK_BYTES = 1 << 12
TIMEOUT_S = 30
"""How long one answer of a server may take."""
DOWNLOAD_S_MAX = 1800.0
"""How long the download of one file may take."""
RATE_SPAN_S, LEAST_BYTES_PER_S = 30.0, 1 << 10
"""A download that brings fewer bytes a second than this, over such a time, is given up."""

Downloader = Callable[[str, str, object], None]
Tell = Callable[[str], None]


def cache_folder() -> Path:
    """Return the folder of this user's downloads and fetched bundles.

    Raises EnvironmentFault when the user has no home folder.
    """
    try:
        return Path(pooch.os_cache("luna"))
    except RuntimeError as error:
        raise EnvironmentFault(
            "there is no folder for downloads",
            why=str(error).partition("\n")[0],
            hint="set HOME or XDG_CACHE_HOME to a folder that you may write to",
        ) from error


def book_folder() -> Path:
    """The folder of fetched bundles. Raises UsageError unless all of them were fetched."""
    if not all((_bundle_folder(name) / CARD_NAME).is_file() for name in PUBLISHED):
        raise UsageError(
            "the book's weights have not been fetched", hint="run `luna weights fetch book`"
        )
    return cache_folder() / "book"


def _bundle_folder(name: str) -> Path:
    return cache_folder() / "book" / name.removesuffix(".state")


def fetch_book(source: str, tell: Tell) -> list[Path]:
    """Fetch the book's checkpoints from a web address or a local folder, as bundles.

    Existing files are only checked; an interrupted download continues where it stopped.
    `tell` is called with a line for each file that is fetched, and for each bundle that is there.
    Raises UsageError when the source is neither address nor folder, TrustError when a file is not
    the published one, EnvironmentFault when it cannot be had, InputError when the folder lacks it.
    """
    _refuse_other_sources(source)
    bundles = []
    for name, sha256 in PUBLISHED.items():
        folder = _bundle_folder(name)
        if _is_good(folder):
            tell(f"already here, checked: {folder.name}")
        else:
            with _only_fetcher(_made(cache_folder() / "downloads"), name, tell) as downloads:
                if not _is_good(folder):  # another process may have made it meanwhile
                    state = _obtain(source, name, sha256, downloads, tell)
                    _made(folder.parent)
                    save_bundle(import_state(state), folder)
        bundles.append(folder)
    return bundles


def _refuse_other_sources(source: str) -> None:
    if not source.strip() or ("://" in source and not _is_address(source)):
        raise UsageError(
            "neither an http(s) address nor a folder", why=repr(source), hint="give --from either"
        )
    if Path(source).is_file():
        raise UsageError(
            "a file, not a folder", file=source, hint="name the folder that holds it with --from"
        )


def _is_address(source: str) -> bool:
    return source.lower().startswith(("https://", "http://"))


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_fault(folder, error, "XDG_CACHE_HOME") from error
    return folder


@contextmanager
def _only_fetcher(downloads: Path, name: str, tell: Tell) -> Iterator[Path]:
    """Wait until no other process is fetching a file into a folder; two would mix their data."""
    path = downloads / f"{name}.lock"
    try:
        file = path.open("a")
    except OSError as error:
        raise write_fault(path, error, "XDG_CACHE_HOME") from error
    with file:
        try:
            lock_file(file.fileno())
        except BlockingIOError:
            tell(f"waiting for another luna that is fetching {name}")
            lock_file(file.fileno(), wait=True)
        yield downloads


def _is_good(folder: Path) -> bool:
    """Whether a complete bundle exists; a damaged one is made again."""
    try:
        return (folder / CARD_NAME).exists() and bool(load_bundle(folder))
    except TrustError:
        return False


def _obtain(source: str, name: str, sha256: str, downloads: Path, tell: Tell) -> Path:
    """Return the path of the checked `.state` file."""
    if not _is_address(source):
        tell(f"copying from {source}: {name}")
        return _copy(Path(source), name, sha256, downloads)
    part = downloads / f"{name}.part"
    try:
        pooch.get_logger().setLevel("ERROR")
        path = pooch.retrieve(
            url=f"{source.rstrip('/')}/{name}",
            known_hash=f"sha256:{sha256}",
            fname=name,
            path=downloads,
            downloader=_resuming(part, tell),
        )
    except OSError as error:  # so are requests' exceptions, of which some are ValueErrors, too
        raise _unreachable(source, name, part, error) from error
    except ValueError as error:
        raise _not_the_published(f"{source}/{name}") from error
    return Path(path)


def _copy(folder: Path, name: str, sha256: str, downloads: Path) -> Path:
    if not (folder / name).is_file():
        raise InputError("the checkpoint is not in this folder", file=folder, why=f"no {name}")
    if pooch.file_hash(str(folder / name)) != sha256:
        raise _not_the_published(folder / name)
    with replace_file(downloads / name) as temporary:
        shutil.copyfile(folder / name, temporary)
    return downloads / name


def _resuming(part: Path, tell: Tell) -> Downloader:
    """Return a downloader for pooch that resumes an interrupted download.

    If the server has no further bytes (416), the kept bytes are taken as complete; their hash is
    checked.
    """

    def download(url: str, output_file: str, pooch_: object) -> None:
        tell(f"fetching {url}")
        _watched(part, partial(_receive, url, part))
        shutil.move(part, output_file)

    return download


def _receive(url: str, part: Path, stopped: threading.Event) -> None:
    import requests

    begun = _size(part)
    headers = {"Accept-Encoding": "identity"}  # ranges of a compressed file would be others
    if begun:
        headers["Range"] = f"bytes={begun}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return
        response.raise_for_status()
        goes_on = response.status_code == requests.codes.partial_content
        with part.open("ab" if goes_on else "wb", buffering=0) as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                if stopped.is_set() or file.tell() > BYTES_MAX:
                    return  # too much: its hash will not fit
                file.write(chunk)


def _watched(part: Path, receive: Callable[[threading.Event], None]) -> None:
    """Receive a file in a thread, and give up when it takes too long or comes too slowly.

    A server that sends a byte now and then satisfies every timeout of a single read.
    """
    import requests

    stopped, failures = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            receive(stopped)
        except BaseException as error:  # raised again below, in the thread that waits
            failures.append(error)

    # A daemon: it may wait for the server for ever, and the command must not.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    begun_s = marked_s = time.monotonic()
    marked = _size(part)
    while thread.is_alive():
        thread.join(min(1.0, RATE_SPAN_S))
        now_s, size = time.monotonic(), _size(part)
        span_s = now_s - marked_s
        too_slow = span_s >= RATE_SPAN_S and size - marked < LEAST_BYTES_PER_S * span_s
        if thread.is_alive() and (too_slow or now_s - begun_s > DOWNLOAD_S_MAX):
            stopped.set()
            raise requests.Timeout(f"{size - marked} bytes in {span_s:.0f} s, too slow")
        if span_s >= RATE_SPAN_S or size < marked:
            marked, marked_s = size, now_s
    if failures:
        raise failures[0]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _unreachable(source: str, name: str, part: Path, error: OSError) -> EnvironmentFault:
    import requests

    if not isinstance(error, requests.RequestException):
        return write_fault(part, error, "XDG_CACHE_HOME")
    status = getattr(error.response, "status_code", None)
    kept = _size(part)
    return EnvironmentFault(
        f"the server answers {status}" if status else "the download failed",
        file=f"{source}/{name}",
        why=str(error) + (f"; {kept} bytes are kept" if kept else ""),
        hint="run it again to continue, or name a mirror or a local folder with --from",
    )


def _not_the_published(file: Path | str) -> TrustError:
    return TrustError(
        "not the published checkpoint",
        file=file,
        why="SHA-256 differs",
        hint="nothing was kept of it; run it again, or use another source with --from",
    )

"""The book's published checkpoints: fetched once, checked, and kept as bundles of this user.

<user cache>/downloads/    what came over the network, with its SHA-256 checked
<user cache>/book/         the bundles made of it; `--weights book` means this folder
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pooch

from luna.nets.book import import_state
from luna.nets.bundle import CARD_NAME, load_bundle, save_bundle
from luna.run.errors import EnvironmentFault, InputError, TrustError, UsageError
from luna.run.files import replace_file, write_fault

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
CHUNK_BYTES = 1 << 16
TIMEOUT_S = 30

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
    """The bundles of the book's checkpoints, from a web address or a local folder.

    What is there already is only checked; a download that broke off goes on where it stopped.
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
            state = _obtain(source, name, sha256, _made(cache_folder() / "downloads"), tell)
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


def _is_good(folder: Path) -> bool:
    """Whether a whole bundle is there; a damaged one is made anew."""
    try:
        return (folder / CARD_NAME).exists() and bool(load_bundle(folder))
    except TrustError:
        return False


def _obtain(source: str, name: str, sha256: str, downloads: Path, tell: Tell) -> Path:
    """The checked `.state` file."""
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
    """A downloader for pooch that keeps what came before a break, and asks only for the rest.

    Where the server knows of no rest (416), what is kept is taken for the whole; its hash tells.
    """

    def download(url: str, output_file: str, pooch_: object) -> None:
        import requests

        tell(f"fetching {url}")
        begun = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"}  # ranges of a compressed file would be others
        if begun:
            headers["Range"] = f"bytes={begun}-"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code != requests.codes.requested_range_not_satisfiable:
                response.raise_for_status()
                goes_on = response.status_code == requests.codes.partial_content
                _write(response.iter_content(CHUNK_BYTES), part, "ab" if goes_on else "wb")
        shutil.move(part, output_file)

    return download


def _write(chunks: Iterable[bytes], part: Path, mode: str) -> None:
    with part.open(mode) as file:
        for chunk in chunks:
            file.write(chunk)
            if file.tell() > BYTES_MAX:
                return  # its hash will not fit


def _unreachable(source: str, name: str, part: Path, error: OSError) -> EnvironmentFault:
    import requests

    if not isinstance(error, requests.RequestException):
        return write_fault(part, error, "XDG_CACHE_HOME")
    status = getattr(error.response, "status_code", None)
    kept = part.stat().st_size if part.exists() else 0
    return EnvironmentFault(
        f"the server answers {status}" if status else "the download failed",
        file=f"{source}/{name}",
        why=str(error) + (f"; {kept} bytes are kept" if kept else ""),
        hint="run it again to go on, or name a mirror or a local folder with --from",
    )


def _not_the_published(file: Path | str) -> TrustError:
    return TrustError(
        "not the published checkpoint",
        file=file,
        why="SHA-256 differs",
        hint="nothing was kept of it; run it again, or use another source with --from",
    )

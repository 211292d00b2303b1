"""The set of networks that a diagnosis needs, from bundles or the book's checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import luna
from luna.nets.book import import_state
from luna.nets.bundle import WEIGHTS_NAME, Bundle, load_bundle, save_bundle
from luna.nets.card import CARD_NAME, Role
from luna.nets.trained import TrainedRange, overlap
from luna.run.errors import TrustError, UsageError
from luna.run.folders import held_folder

BOOK, SHIPPED = "book", "shipped"
"""The names of the fetched weights and of luna's own, where a path of weights is asked for."""

SHIPPED_FOLDER = Path(luna.__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class Models:
    """A segmenter, a nodule classifier and, where there is one, a malignancy classifier.

    `left_out` is a sentence on the files of a folder that were not used; empty where all were.
    Networks that came from files travel to another process as the names of these, `files`: it
    loads them once, and refuses others than those that were sent.
    """

    segmentation: Bundle
    nodule: Bundle
    malignancy: Bundle | None = None
    left_out: str = ""
    files: tuple[Path, ...] = ()

    def __reduce__(self) -> tuple[object, ...]:
        if self.files:
            return (_loaded_there, (self.files, luna.__version__, self.digest()))
        return (Models, (self.segmentation, self.nodule, self.malignancy, self.left_out))

    def digest(self) -> str:
        """Return a hash of the cards, which have those of the weights."""
        cards = [bundle.card.values() for bundle in self.bundles()]
        return hashlib.sha256(json.dumps(cards, sort_keys=True).encode()).hexdigest()

    def bundles(self) -> tuple[Bundle, ...]:
        """Return the bundles that are present."""
        return tuple(b for b in (self.segmentation, self.nodule, self.malignancy) if b is not None)

    def names(self) -> dict[str, str]:
        """The name of each bundle by its role."""
        return {bundle.card.role: bundle.card.name for bundle in self.bundles()}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each bundle's weights, or of the imported file, by role."""
        return {bundle.card.role: bundle.card.weights_sha256 for bundle in self.bundles()}

    def notices(self) -> tuple[str, ...]:
        """Return the notices of the cards for the report, once each."""
        return tuple(dict.fromkeys(b.card.notice for b in self.bundles() if b.card.notice))

    def trained(self) -> TrainedRange:
        """The range that both the segmenter and the nodule classifier were trained for."""
        cards = (self.segmentation.card, self.nodule.card)
        return TrainedRange(
            diameter_mm=overlap(card.diameter_mm for card in cards),
            slice_mm=overlap(card.slice_mm for card in cards),
            pixel_mm=overlap(card.pixel_mm for card in cards),
        )


def _in_one(left_out: Sequence[str]) -> str:
    """Join the sentences about several files into one.

    >>> _in_one(["a.state left out: a U-Net.", "b.state left out: a U-Net."])
    '2 files left out: networks that luna cannot rebuild (`luna weights info` lists them).'
    """
    if len(left_out) < 2:
        return "".join(left_out)
    words = "networks that luna cannot rebuild (`luna weights info` lists them)"
    return f"{len(left_out)} files left out: {words}."


@dataclass(frozen=True, slots=True)
class Imported:
    """The bundles that `import_states` wrote, and a sentence for each file left out."""

    folders: tuple[Path, ...]
    left_out: tuple[str, ...]


def load_network(path: Path, role: Role | None = None) -> Bundle:
    """Load the one network at a path, or the one of a role where the path holds several.

    Raises UsageError when there is none or more than one, and as `load_models`.
    """
    bundles, left_out = _load_all([path])
    found = [bundle for _, bundle in bundles if role in (None, bundle.card.role)]
    if len(found) == 1:
        return found[0]
    roles = ", ".join(bundle.card.role for _, bundle in bundles)
    raise UsageError(
        f"no {role} model among the weights" if role else f"{len(bundles)} networks here",
        file=path,
        why=". ".join([f"they are: {roles}", *left_out]),
        hint="name one bundle, or choose with --role",
    )


def load_each(paths: Sequence[Path]) -> tuple[list[Bundle], list[str]]:
    """Load all networks that the paths name, and a sentence for each file left out.

    Raises what `load_models` raises, but for a role that is missing or there twice.
    """
    bundles, left_out = _load_all(paths)
    return [bundle for _, bundle in bundles], left_out


def load_models(paths: str | Path | Sequence[str | Path] = SHIPPED) -> Models:
    """Load the networks in bundles, `.state` files, folders of either, `book` or `shipped`.

    A file named by itself must load; in a folder, checkpoints of networks that luna cannot
    rebuild are left out, with a notice. Raises UsageError when a path is missing, or a role has no
    model or several, and TrustError when a model cannot be trusted or does not fit, or a role
    has none and files were left out.
    """
    named = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    bundles, left_out = _load_all(named)
    chosen = {role: _only(role, bundles) for role in ("segmentation", "nodule", "malignancy")}
    segmentation, nodule = chosen["segmentation"], chosen["nodule"]
    if segmentation is None or nodule is None:
        missing = "segmentation" if segmentation is None else "nodule"
        fault = TrustError if left_out else UsageError
        raise fault(
            f"no {missing} model among the weights",
            file=", ".join(str(p) for p in named),
            why=" ".join(left_out),
            hint="diagnose needs a segmentation and a nodule model; name both with --weights",
        )
    files = tuple(path.absolute() for path, _ in bundles)
    return Models(segmentation, nodule, chosen["malignancy"], _in_one(left_out), files)


@lru_cache(maxsize=1)
def _loaded_there(files: tuple[Path, ...], version: str, digest: str) -> Models:
    """Load the networks of another process in this one, or raise TrustError for other ones."""
    if luna.__version__ != version:
        raise TrustError(
            "a worker runs another luna",
            why=f"{luna.__version__}, and not {version}",
            hint="install the same version for the workers, and start them again",
        )
    models = load_models(files)
    if models.digest() != digest:
        raise TrustError(
            "a worker finds other networks",
            file=files[0].parent,
            why="their cards or weights are not those that the command read",
            hint="put the same files there for every worker",
        )
    return models


def import_states(
    paths: Sequence[Path],
    out: Path,
    role: Role | None,
    *,
    force: bool,
    warn: Callable[[str], None],
) -> Imported:
    """Write a bundle into `out` for each of the book's `.state` files, or folders of them.

    A file named by itself must be one that luna can rebuild; in a folder the others are left
    out, with a notice. Raises TrustError for the former, UsageError when a bundle of that name is
    there and `force` is not set, or when `role` is given for more than one file.
    """
    members = [(path, member) for path in paths for member in _members(path)]
    if role is not None and len(members) > 1:
        raise UsageError(f"a role for {len(members)} files", hint="import them one by one")
    folders: list[Path] = []
    left_out: list[str] = []
    for path, member in members:
        try:
            bundle = import_state(member, role)
        except TrustError as error:
            if member == path:
                raise
            left_out.append(f"{member.name} left out: {error.what} ({error.why}).")
            continue
        folder = out / bundle.card.name
        with held_folder(folder, force=force, warn=warn):
            save_bundle(bundle, folder)
        folders.append(folder)
    return Imported(tuple(folders), tuple(left_out))


def _load_all(paths: Sequence[Path]) -> tuple[list[tuple[Path, Bundle]], list[str]]:
    """Load every network that the paths name, with a sentence for each file left out."""
    bundles: list[tuple[Path, Bundle]] = []
    left_out: list[str] = []
    for path in paths:
        for member in _members(path):
            try:
                bundles.append((member, _load(member)))
            except TrustError as error:
                if member == path or not member.suffix == ".state":
                    raise
                left_out.append(f"{member.name} left out: {error.what}.")
    return bundles, left_out


def _members(path: Path) -> Iterator[Path]:
    """The bundle folders and `.state` files that a path names, in order of their names."""
    path = _folder_of_name(path)
    if not path.exists():
        raise UsageError("no such weights", file=path, hint=f"give a path, `{SHIPPED}` or `{BOOK}`")
    if not path.is_dir() or _is_bundle(path):
        yield path
        return
    inside = sorted(p for p in path.iterdir() if p.suffix == ".state" or _is_bundle(p))
    if not inside:
        raise UsageError(
            "no weights in this folder",
            file=path,
            hint=f"a bundle is a folder with {CARD_NAME}; the book's checkpoints end in .state",
        )
    yield from inside


def _is_bundle(folder: Path) -> bool:
    """Whether it is one or a part of one: weights that lost their card are not passed over."""
    return any((folder / name).is_file() for name in (CARD_NAME, WEIGHTS_NAME))


def _folder_of_name(path: Path) -> Path:
    """The path itself, or what the words `book` and `shipped` stand for."""
    if path not in (Path(BOOK), Path(SHIPPED)):
        return path
    if path.exists():
        raise UsageError(
            f"{path} is both a path here and the name of weights",
            hint=f"give the path as {path.absolute()}, or start luna in another folder",
        )
    if path == Path(SHIPPED):
        return SHIPPED_FOLDER
    from luna.nets.fetch import book_folder  # pooch is slow to import, and seldom needed

    return book_folder()


def _load(path: Path) -> Bundle:
    if path.is_dir():
        return load_bundle(path)
    if path.suffix == ".state":
        return import_state(path)
    raise TrustError(
        "not a bundle",
        file=path,
        hint="name the bundle's folder, or a .state file of the book",
    )


def _only(role: Role | str, bundles: Iterable[tuple[Path, Bundle]]) -> Bundle | None:
    found = [(path, bundle) for path, bundle in bundles if bundle.card.role == role]
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} {role} models among the weights",
            why=", ".join(path.name for path, _ in found),
            hint="name the one to use with --weights",
        )
    return found[0][1] if found else None

"""Find the scans that a user names: files, folders, and the rows of a table."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from luna.ct.dicom.listed import RULES, Choice, Series, by_thickness, named, preferred
from luna.ct.dicom.series import SeveralScansError
from luna.ct.listing.priors import Priors
from luna.ct.listing.source import Source, Visit
from luna.ct.listing.tree import Tree
from luna.ct.read import read_scan, scan_suffix
from luna.ct.scan import Scan
from luna.ct.volume import as_series_uid
from luna.run.errors import InputError, UsageError
from luna.run.table import read_table

Request = tuple[Path, str | None]
"""A path, and the series to take from it."""

DEFAULT: Choice = "thinnest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Scans by the name that their results get, files that cannot be read, and the rest counted.

    `rule` says in words which series of a study were taken. `studies` counts DICOM studies and
    single volumes. `priors` is None where none were asked for.
    """

    sources: dict[str, Source]
    damaged: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    rule: str = ""
    studies: int = 0
    priors: Priors | None = None

    def sentences(self) -> list[str]:
        """Return what was found, chosen and left out, for people."""
        lines = [f"{len(self.sources)} scans of {self.studies} studies: {self.rule}"]
        if self.left_out:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))
            lines.append(f"left out: {kinds}")
        return lines if self.priors is None else [*lines, *self.priors.sentences()]


def read_or_list(
    paths: Sequence[Path],
    *,
    table: Path | None = None,
    series: str | None = None,
    choose: Choice | None = None,
    out: Path | None = None,
    listed: bool = False,
) -> Scan | Listing:
    """Read the scan where one path is one scan; list the scans where there may be several.

    With `listed` one scan is a list too: it is read elsewhere.

    A folder with several series of one study is refused unless one is chosen, as in `read_scan`.
    `out` is not searched. Raises as `read_scan`, and UsageError where no series is the one that is
    asked for.
    """
    if listed or table is not None or len(paths) != 1:
        asked = [*((path, series) for path in paths), *_rows(table, series)]
        return _some(find_scans(asked, choose=choose, out=out))
    (path,) = paths
    refusal: Exception | None = None
    if choose is None and not _holds_folders(path):
        try:
            return read_scan(path, series_uid=series)
        except (InputError, SeveralScansError) as error:
            if not path.is_dir():
                raise
            refusal = error
    listing = find_scans([(path, series)], choose=choose, out=out)
    if choose is None and listing.studies < 2:
        if refusal is not None:
            raise refusal
        return read_scan(path, series_uid=series)
    if len(listing.sources) == 1 and not listing.damaged:
        return next(iter(listing.sources.values())).read()
    return _some(listing)


def _some(listing: Listing) -> Listing:
    """Raise InputError when there is nothing to read, nor anything that could not be read."""
    if not listing.sources and not listing.damaged:
        raise InputError(
            "no scan among these paths",
            why="; ".join(listing.sentences()[1:]),
            hint="luna reads chest CT: DICOM, MetaImage, NIfTI, NRRD, or a .zip of one of them",
        )
    return listing


def find_scans(
    asked: Iterable[Request], *, choose: Choice | None = None, out: Path | None = None
) -> Listing:
    """List the scans at some paths: of each study, the chosen or preferred series.

    A path that does not exist counts as a damaged file, and the others go on. Raises UsageError
    when no series is the one that is asked for.
    """
    found: list[Source] = []
    left_out: Counter[str] = Counter()
    damaged: dict[str, str] = {}
    studies, rules = 0, []
    for path, series in asked:
        if not path.is_dir():
            studies += 1
            if path.exists():
                found.append(Source(path, series))
            else:
                damaged[str(path)] = "no such file or folder"
            continue
        tree = Tree()
        tree.add(path, out.resolve() if out else None)
        left_out.update(tree.left_out)
        damaged.update({str(file): reason for file, reason in tree.damaged.items()})
        studies += len(tree.studies()) + len(tree.volumes)
        found += _wanted(tree, series, choose or DEFAULT, left_out)
        rules.append(f"the series {series}" if series else RULES[choose or DEFAULT])
        if series and tree.series and not found:
            raise _no_series(path, series, tree)
    return Listing(
        sources=dict(_by_name(found)),
        damaged=damaged,
        left_out=dict(left_out),
        rule="; ".join(dict.fromkeys(rules)) or "as they are named",
        studies=studies,
    )


def _wanted(
    tree: Tree, series: str | None, choose: Choice, left_out: Counter[str]
) -> Iterator[Source]:
    """Yield the series of each study that are taken, and the volumes; count the others."""
    for key, study in tree.studies().items():
        taken = preferred(study, choose) if series is None else named(study, series)
        if len(taken) < len(study):
            left_out["series of the same study"] += len(study) - len(taken)
        yield from (_source_of(one, key) for one in taken)
    for path in tree.volumes:
        name = as_series_uid(path.name[: -len(scan_suffix(path))])
        if series in (None, name):
            yield Source(path)
        else:
            left_out["volumes of another name"] += 1


def _source_of(series: Series, study: str) -> Source:
    visit = Visit(
        patient=series.patient,
        issuer=series.issuer,
        study=study,
        date=series.date,
        time=series.time,
        preference=by_thickness(series),
    )
    return Source(series.parts[0].folder, series.uid, series.parts, visit)


def _no_series(path: Path, series: str, tree: Tree) -> UsageError:
    lines = [f"\n  {one.line()}" for study in tree.studies().values() for one in study]
    return UsageError(
        f"no series {series} here",
        file=path,
        why="".join(lines),
        hint="choose with --series, by UID, the beginning of it or number; or with --choose",
    )


def _by_name(found: Sequence[Source]) -> Iterator[tuple[str, Source]]:
    """Yield each source with the name of its results: the series UID, or the file's name.

    Where several have one name, each gets a hash of its place, so that the order in which they
    are listed changes no name. What was named twice comes once.
    """
    once = list(dict.fromkeys(found))
    names = [_name(source) for source in once]
    counts = Counter(name.casefold() for name in names)  # some disks know no capitals
    for name, source in zip(names, once, strict=True):
        if counts[name.casefold()] == 1:
            yield name, source
        else:
            place = str(source.path.absolute()).encode(errors="surrogateescape")
            yield f"{name}-{hashlib.sha256(place).hexdigest()[:8]}", source


def _name(source: Source) -> str:
    if source.parts and source.series_uid:
        return as_series_uid(source.series_uid)
    suffix = scan_suffix(source.path)
    return as_series_uid(source.path.name[: -len(suffix)] if suffix else source.path.name)


def _holds_folders(path: Path) -> bool:
    return path.is_dir() and any(item.is_dir() for item in path.iterdir())


def _rows(table: Path | None, series: str | None) -> list[Request]:
    """Return the rows of a table with a column `path` and perhaps a column `series`.

    Paths are relative to the table's folder.
    """
    if table is None:
        return []
    rows = read_table(table, ("path",))
    wanted = rows.texts("series", empty=True) if rows.has("series") else [""] * len(rows)
    return [
        (table.parent / text, one or series)
        for text, one in zip(rows.texts("path"), wanted, strict=True)
    ]

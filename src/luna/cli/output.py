"""The folders that a command writes into, held until the command ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from luna.cli.console import warn
from luna.report.batch.folder import RECORD
from luna.run.batch.shard import Shard
from luna.run.errors import UsageError
from luna.run.files import is_text
from luna.run.folders import LOCK, check_folder, held_folder, keep_inputs
from luna.run.record import is_record

_held: list[ExitStack] = []
"""The folders that the running command holds; a test may run one inside another."""


def folder_beside(scan: Path) -> Path:
    """Return the default folder for the report of a scan: `<name>-luna` in this one.

    >>> str(folder_beside(Path("scans/1.2.840.mhd"))), str(folder_beside(Path("ct.nii.gz")))
    ('1.2.840-luna', 'ct-luna')
    """
    place = scan.absolute() if scan.name else scan.resolve()
    name = place.name if place.is_dir() else place.stem.removesuffix(".nii")
    return Path(f"{name or 'scan'}-luna")


def claim_folder(
    out: Path,
    inputs: Iterable[Path] = (),
    *,
    force: bool,
    dry_run: bool = False,
    option: str = "--out",
    shard: Shard | None = None,
) -> None:
    """Hold a folder until the command ends; a dry run only checks it.

    Runs of several shards may hold one folder, each its own share of it.

    Raises what `held_folder` raises, and UsageError when one of the inputs lies in the folder.
    """
    keep_inputs(out, inputs)
    if dry_run:
        check_folder(out, force=force, option=option)
        return
    lock = LOCK if shard is None else f"{LOCK}-{shard.number}-of-{shard.count}"
    held = held_folder(out, force=force, option=option, warn=warn, lock=lock)
    _held[-1].enter_context(held)


def claim_reports(
    out: Path, inputs: Iterable[Path], shard: Shard | None, *, force: bool, dry_run: bool
) -> None:
    """Hold a folder for the report of a scan, or for those of many, which may go on.

    Raises what `claim_folder` raises, and UsageError for a name that ITK cannot write to.
    """
    refuse_odd_name(out)
    goes_on = force or is_record(out / RECORD)
    claim_folder(out, inputs, force=goes_on, dry_run=dry_run, shard=shard)


def claim_evaluation(
    out: Path,
    inputs: Iterable[Path],
    names: Iterable[str],
    *,
    results: Path | None = None,
    force: bool,
    dry_run: bool,
    shard: Shard | None = None,
) -> None:
    """Hold the folder of an evaluation, in which files of these names will be written.

    `results`: where the results of single scans go; an evaluation that was begun there goes on
    without `force`. Raises what `claim_folder` raises, and UsageError when one of the inputs
    would be overwritten.
    """
    from luna.evaluate.folder import was_begun

    keep_inputs(out, inputs, names)
    goes_on = results is not None and was_begun(out, results)
    claim_folder(out, force=force or goes_on, dry_run=dry_run, shard=shard)


def refuse_odd_name(folder: Path) -> None:
    """Raise UsageError for a folder whose name is not valid UTF-8.

    ITK would end the process when a file there is written.
    """
    if not is_text(str(folder.absolute())):
        raise UsageError(
            "the name of this folder is not valid UTF-8",
            file=folder,
            hint="choose another --out folder: label volumes cannot be written here",
        )


@contextmanager
def claims_released() -> Iterator[None]:
    """Release, when the block ends, every folder that was claimed in it."""
    with ExitStack() as stack:
        _held.append(stack)
        try:
            yield
        finally:
            _held.pop()

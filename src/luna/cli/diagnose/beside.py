"""The optional inputs of `luna diagnose`: a prior scan, and a mask of the lobes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli.console import note, progress, stage
from luna.cli.diagnose.prior import read_prior
from luna.run.errors import UsageError

if TYPE_CHECKING:
    from luna.ct.listing.find import Listing
    from luna.ct.lungs.find import Lungs
    from luna.ct.lungs.lobes import Lobes
    from luna.ct.scan import Scan
    from luna.detect.prior.fit import Prior

LobeMask = Annotated[
    Path | None,
    typer.Option(
        "--lobes",
        metavar="MASK",
        help="Label volume of the lobes, by TotalSegmentator or lungmask; names the lobe of each "
        "finding.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """The optional inputs that were read, and the scan's lungs if they were needed for it."""

    prior: Prior | None = None
    lobes: Lobes | None = None
    lungs: Lungs | None = None


def read_beside(
    prior: Path | None,
    interval: int | None,
    lobes: Path | None,
    found: Scan | Listing,
    *,
    quiet: bool,
) -> Beside:
    """Read what was given beside a scan, and check that it fits, before networks are loaded."""
    earlier = read_prior(prior, found, interval, quiet=quiet)
    lungs = earlier.own_lungs if earlier else None
    if lobes is None:
        return Beside(prior=earlier, lungs=lungs)
    return _with_lobes(lobes, found, earlier, lungs, quiet=quiet)


def _with_lobes(
    path: Path, found: Scan | Listing, prior: Prior | None, lungs: Lungs | None, *, quiet: bool
) -> Beside:
    from luna.ct.lungs.find import find_lungs
    from luna.ct.lungs.lobes import read_lobes
    from luna.ct.scan import Scan

    if not isinstance(found, Scan):
        raise UsageError("--lobes works with one scan only", hint="name one scan")
    with progress(quiet=quiet) as advance, stage(advance, "lobes"):
        lungs = lungs or find_lungs(found)
        lobes = read_lobes(path, found, lungs)
    note(f"lobes by the labels of {lobes.scheme}", quiet=quiet)
    return Beside(prior=prior, lobes=lobes, lungs=lungs)

"""The prior of a scan in a list: read, aligned and compared, or a reason why it is not."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from luna.ct.listing.source import Source
from luna.ct.scan import Scan
from luna.detect.config import DiagnoseConfig
from luna.detect.findings import Findings
from luna.detect.key import Key
from luna.detect.prior.changes import Comparison, Verdict
from luna.detect.prior.fit import Prior, Tracked, fit_prior
from luna.nets.models import Models
from luna.report.origin import NAME as ORIGIN
from luna.report.origin import stored_origin
from luna.run.batch import item_at_fault, reason_of
from luna.run.errors import InputError

UNREAD = "unread"
"""Stands for the content of a prior that could not be read."""

VERDICTS: tuple[Verdict, ...] = ("grown", "new", "smaller", "stable", "gone", "not shown")


@dataclass(frozen=True, slots=True)
class Fitted:
    """The prior of a name on its scan, or why it does not fit.

    `content` is its fingerprint, or UNREAD.
    """

    name: str
    content: str
    prior: Prior | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The prior of a scan in a list: its source, and the folder of its report.

    It was looked at before the scan, so that its report is there unless it failed.
    """

    source: Source
    folder: Path

    def key(self) -> Key:
        """Return what decides a comparison besides the contents of both scans."""
        origin = self.folder / ORIGIN
        named = hashlib.sha256(origin.read_bytes()).hexdigest() if origin.is_file() else None
        return {"prior": self.folder.name, "tracked": named}

    def fit(self, scan: Scan) -> Fitted:
        """Read the prior and align it with its scan, with the names of its nodules."""
        content = UNREAD
        try:
            with item_at_fault():
                prior = self.source.read()
                content = prior.fingerprint()
                fitted = fit_prior(scan, prior, known=self._known(content))
                return Fitted(self.folder.name, content, fitted)
        except InputError as error:
            return Fitted(self.folder.name, content, reason=self._reason(error))

    def _reason(self, error: InputError) -> str:
        """Return what is wrong with the prior, without its name: who shows it names the prior."""
        return reason_of(error).removeprefix(f"{self.folder.name}: ")

    def _known(self, content: str) -> tuple[Tracked, ...]:
        """Return the nodules of the prior's report; none where that is of another content."""
        if not (self.folder / ORIGIN).is_file():
            return ()
        origin = stored_origin(self.folder)
        return origin.nodules if origin.fingerprint == content else ()


def compared(
    scan: Scan,
    found: Findings,
    fitted: Fitted | None,
    models: Models,
    config: DiagnoseConfig,
    device: torch.device,
) -> tuple[Comparison | None, str]:
    """Return the comparison with a prior, or the reason why there is none."""
    if fitted is None or fitted.prior is None:
        return None, "" if fitted is None else fitted.reason
    from luna.detect.prior.compare import compare  # loads scipy's optimizers

    try:
        with item_at_fault():
            return compare(scan, found, fitted.prior, models, config, device), ""
    except InputError as error:
        return None, reason_of(error)


def changes_in_words(comparison: Comparison | None) -> str:
    """Return how many nodules changed in which way; those to be looked at first come first."""
    changes = comparison.changes if comparison else ()
    counts = Counter[Verdict](change.verdict for change in changes)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])

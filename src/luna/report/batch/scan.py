"""One scan of many: read ahead, diagnosed, and kept with the key of its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from luna.ct.listing.source import Source
from luna.ct.lungs.find import Lungs, find_lungs
from luna.ct.scan import Scan
from luna.detect.config import DiagnoseConfig
from luna.detect.key import Key, run_key
from luna.detect.pipeline import diagnose
from luna.nets.models import Models
from luna.report.batch.entry import Entry, entry_from, entry_of, thumbnail_of
from luna.report.batch.prior import Earlier, Fitted, changes_in_words, compared
from luna.report.dicom.results import Choice, DicomResults, results_of, with_reason
from luna.report.guidelines import Guidance
from luna.report.write import write_report
from luna.run.batch import Done, item_at_fault
from luna.run.checked import DamagedError, Json, read_checked, write_checked
from luna.run.device import device_here

RESULT = "result.json"
"""The file in a scan's folder that says what its report was made from; it is written last."""

SCHEMA = 1
"""Increased when the file changes; scans with a file of another schema are diagnosed again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """How every scan is diagnosed, and where the reports go.

    A `device` that is a name is chosen where the scan is diagnosed.
    """

    models: Models
    config: DiagnoseConfig
    device: str | torch.device
    out: Path
    include_phi: bool = False
    guidance: Guidance | None = None
    dicom: Choice | None = None

    def key(self) -> Key:
        """Return everything that decides a report besides the scan."""
        key = run_key(self.models.bundles(), self.config, device_here(self.device))
        asked = None if self.guidance is None else asdict(self.guidance)
        return {**key, "include_phi": self.include_phi, "guidance": asked, "dicom": self.dicom}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A scan that was read and whose lungs were found, or the entry that an earlier run made.

    `key` decides its report, `fitted` is its prior, if it has one.
    """

    scan: Scan | None = None
    lungs: Lungs | None = None
    key: Key | None = None
    stamp: str | None = None
    fitted: Fitted | None = None
    kept: Entry | None = None
    damage: str = ""
    dicom: DicomResults | None = None
    why_no_dicom: str = ""


def content_of(scan: Scan, fitted: Fitted | None) -> str:
    """Return the fingerprint of a scan, with that of its prior where it has one."""
    own = scan.fingerprint()
    return own if fitted is None else f"{own} {fitted.content}"


@dataclass(frozen=True, slots=True)
class ReadScan:
    """Reads one scan and its prior, unless its report is there already."""

    source: Source
    folder: Path
    key: Key
    dicom: Choice | None = None
    prior: Earlier | None = None

    def __call__(self) -> Ready:
        with item_at_fault():
            key = self.key if self.prior is None else {**self.key, **self.prior.key()}
            stamp = self._stamp()
            values, damage = self._earlier(key)
            if values is not None and stamp is not None and values["stamp"] == stamp:
                return Ready(kept=entry_from(values["entry"]))
            scan = self.source.read()
            fitted = None if self.prior is None else self.prior.fit(scan)
            if values is not None and values["scan"] == content_of(scan, fitted):
                return Ready(kept=entry_from(values["entry"]))
            dicom, why_none = results_of(self.source.path, scan, self.dicom, self.source.headers)
            known = fitted and fitted.prior and fitted.prior.own_lungs
            return Ready(
                scan=scan, lungs=known or find_lungs(scan), key=key, stamp=stamp, fitted=fitted,
                damage=damage, dicom=dicom, why_no_dicom=why_none,
            )  # fmt: skip

    def _stamp(self) -> str | None:
        """Return the stamp of the scan, with that of its prior where it has one."""
        stamps = [self.source.stamp(), *([self.prior.source.stamp()] if self.prior else ())]
        known = [stamp for stamp in stamps if stamp is not None]
        return " ".join(known) if len(known) == len(stamps) else None

    def _earlier(self, key: Key) -> tuple[Json | None, str]:
        """Return what an earlier run stored by the same key, and what is wrong with the file."""
        path = self.folder / RESULT
        if not path.exists():
            return None, ""
        try:
            values = read_checked(path)
        except DamagedError as error:
            return None, str(error)
        same = values.get("schema") == SCHEMA and values.get("key") == key
        whole = same and all((self.folder / name).is_file() for name in values["files"])
        return (values, "") if whole else (None, "")


@dataclass(frozen=True, slots=True)
class DiagnoseScan:
    """Diagnoses a scan that was read, compares it with its prior, and writes its report."""

    order: Order

    def __call__(self, name: str, read: Callable[[], Ready]) -> Done[Entry]:
        ready = read()
        if ready.kept is not None:
            return Done(result=ready.kept, kept=True)
        assert ready.scan is not None  # noqa: S101 - what is not kept was read
        scan, order, folder = ready.scan, self.order, self.order.out / name
        with item_at_fault():
            device = device_here(order.device)
            found = diagnose(scan, order.models, order.config, device, lungs=ready.lungs)
            found = with_reason(found, ready.why_no_dicom)
        comparison, why_none = compared(
            scan, found, ready.fitted, order.models, order.config, device
        )
        if ready.fitted is not None and why_none:
            found = with_reason(found, f"Not compared with {ready.fitted.name}: {why_none}.")
        (folder / RESULT).unlink(missing_ok=True)
        written = write_report(
            scan, found, folder, include_phi=order.include_phi, guidance=order.guidance,
            dicom=ready.dicom, comparison=comparison,
        )  # fmt: skip
        entry = entry_of(scan, found, name)
        if ready.fitted is not None:
            entry = replace(
                entry,
                prior=ready.fitted.name,
                changes=changes_in_words(comparison),
                prior_refused=why_none,
            )
        values = {
            "schema": SCHEMA,
            "key": ready.key,
            "stamp": ready.stamp,
            "scan": content_of(scan, ready.fitted),
            "files": [path.name for path in written],
            "entry": asdict(entry),
            "thumbnail": thumbnail_of(scan, found),
        }
        write_checked(folder / RESULT, values)
        return Done(result=entry, damage=ready.damage)


@dataclass(frozen=True, slots=True)
class ReadAndDiagnose:
    """Reads a scan and diagnoses it, in whichever process it comes to.

    `threads`: how many torch may use, where several processes share the cores.
    """

    order: Order
    threads: int | None = None

    def __call__(self, name: str, item: tuple[Source, Earlier | None]) -> Done[Entry]:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        (source, prior), order = item, self.order
        read = ReadScan(source, order.out / name, order.key(), order.dicom, prior)
        return DiagnoseScan(order)(name, read)

"""One uploaded scan: unpacked, read, looked at, and its report written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from luna.ct.archive import extracted
from luna.ct.listing.find import find_scans
from luna.ct.listing.source import Source
from luna.ct.scan import Scan
from luna.detect.config import DiagnoseConfig
from luna.detect.prior.fit import Prior, fit_prior, study_date
from luna.nets.models import Models, load_models
from luna.report.batch.entry import entry_of
from luna.report.batch.scan import Order
from luna.report.diagnosis import diagnose_and_report
from luna.report.dicom.results import DicomResults, results_of
from luna.run.device import choose_device
from luna.run.errors import InputError, LunaError, UsageError
from luna.run.machine.memory import is_out_of_memory
from luna.run.progress import Progress
from luna.serve.folder import Folder
from luna.serve.request import ScanRequest
from luna.serve.rows import Outcome, Row

IDENTITY = ("PatientID", "PatientName", "PatientBirthDate")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExaminerSettings:
    """The weights, config and device of a worker; it travels to the worker's process."""

    weights: tuple[Path, ...]
    config: DiagnoseConfig
    device: str
    include_phi: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Examiner:
    """The networks and the device, loaded once, and the folder with the scans."""

    folder: Folder
    models: Models
    device: torch.device
    settings: ExaminerSettings

    def examine(self, row: Row, progress: Progress) -> Outcome:
        """Look at a scan and write its report. What is wrong with the scan becomes an outcome."""
        try:
            return self._examine(row, progress)
        except LunaError as error:
            return _failed(self._named_by_sender(error), error.hint)
        except Exception as error:
            if is_out_of_memory(error):
                return _failed("the scan does not fit the memory", "close other programs")
            raise

    def _examine(self, row: Row, progress: Progress) -> Outcome:
        order = Order(
            models=self.models, config=self.settings.config, device=self.device,
            out=self.folder.report(row.id), include_phi=self.settings.include_phi,
            guidance=row.asked.guidance(),
        )  # fmt: skip
        with self._opened(row.id, row.asked, progress) as source:
            progress("read", 0, 1)
            scan = _without_path(source.read())
            dicom = _dicom_results(source, scan, everything=row.send == "wanted")
        prior = self._prior(scan, row.asked, progress) if row.asked.prior else None
        found = diagnose_and_report(
            scan, order, dicom, progress, prior=prior, lungs=prior.own_lungs if prior else None
        )
        outcome = Outcome(
            state="done",
            patient=_patient_key(scan),
            entry=asdict(entry_of(scan, found, "report")),
        )
        return _with_names(outcome, scan) if self.settings.include_phi else outcome

    def _prior(self, scan: Scan, asked: ScanRequest, progress: Progress) -> Prior:
        """Read and align the prior scan, which was uploaded as a scan of its own."""
        assert asked.prior is not None  # noqa: S101 - looked at by the caller
        if not self.folder.upload(asked.prior).is_file():
            raise UsageError("the prior scan was deleted", hint="look again without it")
        prior_asked = self.folder.store.get(asked.prior).asked
        with self._opened(asked.prior, prior_asked, progress) as source:
            prior = source.read()
        progress("align", 0, 1)
        return fit_prior(scan, prior, asked.interval)

    @contextmanager
    def _opened(self, scan: str, asked: ScanRequest, progress: Progress) -> Iterator[Source]:
        """Unpack an upload and yield its one scan, by the choice that was asked for."""
        progress("unpack", 0, 1)
        with extracted(self.folder.upload(scan)) as place:
            yield _the_one(place, asked.series)

    def _named_by_sender(self, error: LunaError) -> str:
        """Return an error's message with the sender's file names, not the server's paths."""
        file = None if error.file is None else Path(error.file)
        if file is not None and file.is_relative_to(self.folder.root):
            # scans/ID/upload.zip/…, or work/luna-…/…
            inside = file.relative_to(self.folder.root).parts
            inside = inside[3:] if inside[0] == "scans" else inside[2:]
            file = Path(*inside) if inside else None
        clean = type(error)(error.what, file=file, why=error.why)
        return str(clean)


def load_examiner(folder: Folder, settings: ExaminerSettings) -> Examiner:
    """Load the networks and choose the device. Raises as `load_models` and `choose_device`."""
    return Examiner(
        folder=folder,
        models=load_models(settings.weights),
        device=choose_device(settings.device),
        settings=settings,
    )


def _the_one(place: Path, series: str | None) -> Source:
    """Return the scan of an upload: of a study with several series the one with thinnest slices.

    Raises InputError where there is none, or where there are several studies.
    """
    listing = find_scans([(place, series)])
    if len(listing.sources) == 1:
        return next(iter(listing.sources.values()))
    names = ", ".join(sorted(listing.sources)[:4])
    if listing.sources:
        raise InputError(
            f"{len(listing.sources)} scans in one upload",
            why=names,
            hint="send one study at a time; `luna diagnose` takes many",
        )
    reasons = [f"{Path(file).name}: {why}" for file, why in list(listing.damaged.items())[:4]]
    raise InputError(
        "no scan in this upload",
        why="; ".join([*reasons, *listing.sentences()[1:]]),
        hint="luna reads chest CT: DICOM, MetaImage, NIfTI, NRRD, or a .zip of one of them",
    )


def _dicom_results(
    source: Source, scan: Scan, *, everything: bool
) -> tuple[DicomResults | None, str]:
    """Return the DICOM results to write; key images too for an archive that waits for them."""
    if everything:
        try:
            return results_of(source.path, scan, "all", source.headers)
        except (InputError, UsageError):
            pass  # without a choice, the report says why there are none
    return results_of(source.path, scan, None, source.headers)


def _without_path(scan: Scan) -> Scan:
    """Return the scan without its path: the upload is unpacked there for this look only."""
    return replace(scan, provenance=replace(scan.provenance, path=""))


def _failed(error: str, hint: str) -> Outcome:
    return Outcome(state="failed", error=error, hint=hint)


def _patient_key(scan: Scan) -> str:
    """Return a key that scans of one patient share; empty if the file names none."""
    values = [scan.provenance.phi.get(tag, "") for tag in IDENTITY]
    return hashlib.sha256("\n".join(values).encode()).hexdigest()[:16] if any(values) else ""


def _with_names(outcome: Outcome, scan: Scan) -> Outcome:
    day = study_date(scan)
    name = scan.provenance.phi.get("PatientName", "")
    return replace(outcome, name=name[:200], study_date=day.isoformat() if day else "")

"""The way of one scan from voxels to its report, with a prior and lobes where they are given."""

from __future__ import annotations

from luna.ct.lungs.find import Lungs
from luna.ct.lungs.lobes import Lobes
from luna.ct.scan import Scan
from luna.detect.findings import Findings
from luna.detect.lobes import with_lobes
from luna.detect.pipeline import diagnose
from luna.detect.prior.fit import Prior
from luna.report.batch.scan import Order
from luna.report.dicom.results import DicomResults, with_reason
from luna.report.write import write_report
from luna.run.progress import Progress, silent


def diagnose_and_report(
    scan: Scan,
    order: Order,
    dicom: tuple[DicomResults | None, str] = (None, ""),
    progress: Progress = silent,
    *,
    prior: Prior | None = None,
    lobes: Lobes | None = None,
    lungs: Lungs | None = None,
) -> Findings:
    """Diagnose a scan, compare it with a prior, and write its report into the order's folder.

    `dicom` is what `results_of` decided; `lungs` are the scan's, where they are known already.
    """
    results, why_none = dicom
    how = (order.models, order.config, order.device)
    found = with_reason(diagnose(scan, *how, progress, lungs=lungs), why_none)
    if lobes:
        found = with_lobes(found, lobes, scan.geometry.spacing_irc)
    comparison = None
    if prior:
        from luna.detect.prior.compare import compare  # loads scipy's optimizers

        comparison = compare(scan, found, prior, *how, progress)
    write_report(
        scan, found, order.out, include_phi=order.include_phi, guidance=order.guidance,
        dicom=results, comparison=comparison, progress=progress,
    )  # fmt: skip
    return found

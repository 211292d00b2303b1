"""`diagnose`: the way of one scan from voxels to findings (book, chapter 14)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.lungs import Lungs, find_lungs
from luna.ct.scan import Scan
from luna.detect.classify import ClassifyConfig, classify
from luna.detect.findings import Candidates, Finding, Findings, NoduleMask
from luna.detect.group import Components, group
from luna.detect.measure import measure, trim
from luna.detect.segment import SegmentConfig, segment
from luna.nets.models import Models
from luna.run.device import choose_device
from luna.run.errors import UsageError
from luna.run.memory import keep_freed_memory
from luna.run.progress import Progress, silent

THICK_SLICES_MM = 3.0
"""Above this distance between slices, small nodules fall between them (Fleischner 2017)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnoseConfig:
    """How a scan is diagnosed."""

    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """The segmentation stage."""
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)
    """The classification stage."""
    lungs_only: bool = True
    """Drop candidates whose centre lies in no lung."""
    threshold: float | None = None
    """Report findings from this probability on; none takes the nodule model's own."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise UsageError(f"threshold is {self.threshold}, not between 0 and 1")


def faithful(config: DiagnoseConfig) -> DiagnoseConfig:
    """The same configuration, computed as the book's own chapter-14 code does.

    Whole slices in float32, sliding crops, candidates anywhere in the scan.
    """
    return replace(
        config,
        segment=replace(config.segment, region="whole", precision="float32", batch_slices=4),
        classify=replace(config.classify, precision="float32", border="shift", batch_crops=4),
        lungs_only=False,
    )


def diagnose(
    scan: Scan,
    models: Models,
    config: DiagnoseConfig | None = None,
    device: str | torch.device = "auto",
    progress: Progress = silent,
) -> Findings:
    """Find, classify and measure the nodules of one scan.

    `device` is a torch device or a name for `choose_device`. Raises InputError when the volume
    shows no lungs: an empty result always means that luna looked.
    """
    config = config or DiagnoseConfig()
    device = choose_device(str(device))
    keep_freed_memory()
    seconds: dict[str, float] = {}

    def report(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(stage, done, total)

    with _timed("lungs", seconds, progress):
        lungs = find_lungs(scan)
    with _timed("segment", seconds, progress):
        segmentation = segment(
            scan, lungs, models.segmentation, config.segment, device, report("segment")
        )
    with _timed("group", seconds, progress):
        components = group(
            scan, segmentation, config.segment.threshold, models.segmentation.card.erosion
        )
        del segmentation  # as large as the scan, and needed no more
        looked_at = _looked_at(components, lungs, config.lungs_only)
        center_irc = components.center_irc[looked_at]
    with _timed("classify", seconds, progress):
        p_nodule = classify(
            scan, center_irc, models.nodule, config.classify, device, report("classify")
        )
    threshold = config.threshold or models.nodule.card.threshold
    best = _best_of_each_nodule(components.nodule[looked_at], p_nodule)
    found = best[p_nodule[best] >= threshold]
    with _timed("measure", seconds, progress):
        p_malignant = _malignancy(scan, center_irc[found], models, config, device)
        masks = _masks(components, components.nodule[looked_at][found])
        findings = tuple(
            _finding(scan, lungs, k, center_irc[c], p_nodule[c], p_malignant[k - 1], masks[k - 1])
            for k, c in enumerate(found, start=1)
        )
    order = np.argsort(-p_nodule, kind="stable")
    return Findings(
        series_uid=scan.series_uid,
        scan_fingerprint=scan.fingerprint(),
        findings=findings,
        candidates=Candidates(
            center_irc=center_irc[order],
            center_xyz=scan.geometry.xyz_from_irc(center_irc[order]),
            p_nodule=p_nodule[order],
            nodule=components.nodule[looked_at][order],
        ),
        threshold=threshold,
        models=models.names(),
        weights_sha256=models.hashes(),
        config=asdict(config),
        device=str(device),
        lung_volume_ml=lungs.volume_ml,
        notices=models.notices(),
        warnings=_warnings(scan, lungs),
        seconds=seconds,
    )


@contextmanager
def _timed(stage: str, seconds: dict[str, float], progress: Progress) -> Iterator[None]:
    progress(stage, 0, 1)
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
    progress(stage, 1, 1)


def _looked_at(components: Components, lungs: Lungs, lungs_only: bool) -> NDArray[np.intp]:
    """Indices of the components that are candidates."""
    if not lungs_only:
        return np.arange(len(components.center_irc))
    return np.flatnonzero(lungs.label_at(components.center_irc))


def _best_of_each_nodule(
    nodule: NDArray[np.int64], p_nodule: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index of the most probable fragment of every nodule, in order of falling probability."""
    order = np.argsort(-p_nodule, kind="stable")
    _, first = np.unique(nodule[order], return_index=True)
    return order[np.sort(first)]


def _malignancy(
    scan: Scan,
    center_irc: NDArray[np.float64],
    models: Models,
    config: DiagnoseConfig,
    device: torch.device,
) -> list[float | None]:
    if models.malignancy is None:
        return [None] * len(center_irc)
    exact = replace(config.classify, precision="float32")  # few crops, and every one is reported
    p = classify(scan, center_irc, models.malignancy, exact, device, lambda done, total: None)
    return [float(value) for value in p]


def _masks(components: Components, nodules: NDArray[np.int64]) -> list[NoduleMask]:
    """The segmented voxels of some nodules, each in its own box."""
    boxes = ndimage.find_objects(components.opened)
    masks = []
    for nodule in nodules:
        box = boxes[nodule]
        start = [s.start + o for s, o in zip(box, components.start_irc, strict=True)]
        masks.append(
            NoduleMask(
                start_irc=(start[0], start[1], start[2]),
                voxels=components.opened[box] == nodule + 1,
            )
        )
    return masks


def _finding(
    scan: Scan,
    lungs: Lungs,
    number: int,
    center_irc: NDArray[np.float64],
    p_nodule: float,
    p_malignant: float | None,
    mask: NoduleMask,
) -> Finding:
    body = trim(scan, mask)
    i, r, c = center_irc.tolist()
    x, y, z = scan.geometry.xyz_from_irc(center_irc).tolist()
    return Finding(
        number=number,
        center_irc=(i, r, c),
        center_xyz=(x, y, z),
        p_nodule=float(p_nodule),
        p_malignant=p_malignant,
        measurement=measure(scan, body),
        side=lungs.side(center_irc),
        mask=body,
    )


def _warnings(scan: Scan, lungs: Lungs) -> tuple[str, ...]:
    """Sentences for the reader: from the file, about the lungs, about the slices."""
    thick = scan.geometry.spacing_irc[0]
    slices = (
        (f"Slices are {thick:g} mm apart: nodules smaller than that can be missed.",)
        if thick > THICK_SLICES_MM
        else ()
    )
    return scan.provenance.warnings + lungs.warnings + slices

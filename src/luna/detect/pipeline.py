"""`diagnose`: the way of one scan from voxels to findings (book, chapter 14)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from luna.ct.lungs.anatomy import check_anatomy
from luna.ct.lungs.find import Lungs, find_lungs
from luna.ct.mask import BoxMask
from luna.ct.scan import Scan
from luna.detect.classify import classify
from luna.detect.config import ClassifyConfig, DiagnoseConfig
from luna.detect.describe import describe
from luna.detect.emphysema import low_attenuation
from luna.detect.findings import Candidates, Finding, Findings
from luna.detect.group import Components, group
from luna.detect.limits import MOST_FINDINGS, number_limits, resolution_limits
from luna.detect.measure import measure
from luna.detect.opacity import find_opacities
from luna.detect.segment import segment
from luna.nets.bundle import Bundle
from luna.nets.models import Models
from luna.run.device import choose_device
from luna.run.machine.memory import in_what_fits, keep_freed_memory
from luna.run.progress import Progress, silent


def diagnose(
    scan: Scan,
    models: Models,
    config: DiagnoseConfig | None = None,
    device: str | torch.device = "auto",
    progress: Progress = silent,
    *,
    lungs: Lungs | None = None,
) -> Findings:
    """Find, classify and measure the nodules of one scan.

    `device` is a torch device or a name for `choose_device`; `lungs` are the scan's, where they
    are known already. Raises InputError when the volume
    shows no lungs, so that an empty result always means that luna looked and found nothing.
    """
    config = config or DiagnoseConfig()
    device = choose_device(str(device))
    keep_freed_memory()
    stages = _Stages(progress)
    threshold = config.threshold or models.nodule.card.threshold
    trained = models.trained()
    sparing: dict[str, int] = {}
    with stages.run("lungs"):
        lungs = lungs or find_lungs(scan)
        limits = check_anatomy(scan, lungs) + lungs.limits + resolution_limits(scan, trained)
    with stages.run("segment") as count:
        segmentation = _segment(scan, lungs, models, config, device, count, sparing)
    with stages.run("group"):
        components = group(scan, segmentation, models.segmentation.card.erosion, balls=config.balls)
        del segmentation  # a byte for every voxel, and needed no more
        if config.lungs_only:
            components = components.take(lungs.label_at(components.center_irc) > 0)
    with stages.run("classify") as count:
        p_nodule = _classify(
            scan, components.center_irc, models.nodule, config.classify, device, count, sparing
        )
        candidates = _candidates(scan, components, p_nodule).ranked()
    with stages.run("measure") as count:
        marks = candidates.marks()
        marks = marks[candidates.p_nodule[marks] >= threshold]
        limits += number_limits(len(marks))
        nodules = candidates.take(marks[:MOST_FINDINGS])
        p_malignant = _malignancy(scan, nodules, models, config, device, sparing)
        masks = components.masks(nodules.nodule, nodules.center_irc)
        findings = _findings(scan, lungs, nodules, p_malignant, masks, count)
    with stages.run("opacities"):
        opacities = find_opacities(scan, lungs, trained)
    return Findings(
        series_uid=scan.series_uid,
        scan_fingerprint=scan.fingerprint(),
        findings=findings,
        candidates=candidates,
        threshold=threshold,
        models=models.names(),
        weights_sha256=models.hashes(),
        config=asdict(config),
        device=str(device),
        lung_volume_ml=lungs.volume_ml,
        low_attenuation=low_attenuation(scan, lungs),
        notices=models.notices(),
        opacities=opacities,
        limits=limits,
        trained=trained,
        cards={bundle.card.role: bundle.card for bundle in models.bundles()},
        lungs_box=lungs.box(),
        warnings=(*limits, *scan.provenance.warnings, *_memory_words(sparing)),
        seconds=stages.seconds,
    )


class _Stages:
    """Times the stages of a diagnosis and reports their progress."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextmanager
    def run(self, stage: str) -> Iterator[Callable[[int, int], None]]:
        """Enter a stage; yields what takes its progress as (done, total)."""
        self._progress(stage, 0, 1)
        start = time.perf_counter()
        yield partial(self._progress, stage)
        self.seconds[stage] = time.perf_counter() - start
        self._progress(stage, 1, 1)


def _segment(
    scan: Scan,
    lungs: Lungs,
    models: Models,
    config: DiagnoseConfig,
    device: torch.device,
    progress: Callable[[int, int], None],
    sparing: dict[str, int],
) -> BoxMask:
    """Mark the voxels of nodules, as many slices at once as fit the memory."""

    def mark(slices: int) -> BoxMask:
        fitting = replace(config.segment, batch_slices=slices)
        return segment(scan, lungs, models.segmentation, fitting, device, progress)

    return in_what_fits(mark, config.segment.batch_slices, partial(sparing.__setitem__, "slices"))


def _classify(
    scan: Scan,
    center_irc: NDArray[np.float64],
    bundle: Bundle,
    config: ClassifyConfig,
    device: torch.device,
    progress: Callable[[int, int], None],
    sparing: dict[str, int],
) -> NDArray[np.float64]:
    """Judge candidates, as many at once as fit the memory."""

    def judge(crops: int) -> NDArray[np.float64]:
        fitting = replace(config, batch_crops=crops)
        return classify(scan, center_irc, bundle, fitting, device, progress)

    return in_what_fits(judge, config.batch_crops, partial(sparing.__setitem__, "crops"))


def _memory_words(sparing: Mapping[str, int]) -> Iterator[str]:
    """Say what was computed in smaller batches than the configuration asks for."""
    for things, size in sparing.items():
        yield f"memory was short: {things} were computed in batches of {size}"


def _candidates(scan: Scan, components: Components, p_nodule: NDArray[np.float64]) -> Candidates:
    return Candidates(
        center_irc=components.center_irc,
        center_xyz=scan.geometry.xyz_from_irc(components.center_irc),
        p_nodule=p_nodule,
        nodule=components.joined(p_nodule, scan.geometry.spacing_irc),
    )


def _malignancy(
    scan: Scan,
    nodules: Candidates,
    models: Models,
    config: DiagnoseConfig,
    device: torch.device,
    sparing: dict[str, int],
) -> list[float | None]:
    """The probability that each nodule is malignant, None without a malignancy model."""
    if models.malignancy is None:
        return [None] * len(nodules.center_irc)
    p = _classify(
        scan,
        nodules.center_irc,
        models.malignancy,
        config.classify,
        device,
        lambda *_: None,
        sparing,
    )
    return [float(value) for value in p]


def _findings(
    scan: Scan,
    lungs: Lungs,
    nodules: Candidates,
    p_malignant: Sequence[float | None],
    masks: Sequence[BoxMask],
    progress: Callable[[int, int], None],
) -> tuple[Finding, ...]:
    """Measure nodules, which are in order of falling probability, and number them."""
    findings = []
    for k, (i, r, c) in enumerate(nodules.center_irc.tolist()):
        x, y, z = nodules.center_xyz[k].tolist()
        body, measurement = measure(scan, masks[k])
        findings.append(
            Finding(
                number=k + 1,
                center_irc=(i, r, c),
                center_xyz=(x, y, z),
                p_nodule=float(nodules.p_nodule[k]),
                p_malignant=p_malignant[k],
                measurement=measurement,
                description=describe(scan, lungs, masks[k], body),
                side=lungs.side((i, r, c)),
                mask=body,
            )
        )
        progress(k + 1, len(masks))
    return tuple(findings)

"""`diagnose`: the way of one scan from voxels to findings (book, chapter 14)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from luna.ct.anatomy import check_anatomy
from luna.ct.lungs import Lungs, find_lungs
from luna.ct.mask import BoxMask
from luna.ct.scan import Scan
from luna.detect.classify import classify
from luna.detect.config import DiagnoseConfig
from luna.detect.describe import describe
from luna.detect.findings import Candidates, Finding, Findings
from luna.detect.group import Components, group
from luna.detect.limits import resolution_limits
from luna.detect.measure import measure
from luna.detect.opacity import find_opacities
from luna.detect.segment import segment
from luna.nets.models import Models
from luna.run.machine.device import choose_device
from luna.run.machine.memory import keep_freed_memory
from luna.run.progress import Progress, silent


def diagnose(
    scan: Scan,
    models: Models,
    config: DiagnoseConfig | None = None,
    device: str | torch.device = "auto",
    progress: Progress = silent,
) -> Findings:
    """Find, classify and measure the nodules of one scan.

    `device` is a torch device or a name for `choose_device`. Raises InputError when the volume
    shows no lungs, so that an empty result always means that luna looked and found nothing.
    """
    config = config or DiagnoseConfig()
    device = choose_device(str(device))
    keep_freed_memory()
    stages = _Stages(progress)
    threshold = config.threshold or models.nodule.card.threshold
    trained = models.trained()
    with stages.run("lungs"):
        lungs = find_lungs(scan)
        limits = check_anatomy(scan, lungs) + lungs.limits + resolution_limits(scan, trained)
    with stages.run("segment") as count:
        segmentation = segment(scan, lungs, models.segmentation, config.segment, device, count)
    with stages.run("group"):
        components = group(scan, segmentation, models.segmentation.card.erosion)
        del segmentation  # a byte for every voxel, and needed no more
        if config.lungs_only:
            components = components.take(lungs.label_at(components.center_irc) > 0)
    with stages.run("classify") as count:
        p_nodule = classify(
            scan, components.center_irc, models.nodule, config.classify, device, count
        )
        candidates = _candidates(scan, components, p_nodule).ranked()
    with stages.run("measure"):
        nodules = candidates.take(candidates.marks())
        nodules = nodules.take(nodules.p_nodule >= threshold)
        p_malignant = _malignancy(scan, nodules, models, config, device)
        masks = components.masks(nodules.nodule, nodules.center_irc)
        findings = _findings(scan, lungs, nodules, p_malignant, masks)
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
        notices=models.notices(),
        opacities=opacities,
        limits=limits,
        trained=trained,
        cards={bundle.card.role: bundle.card for bundle in models.bundles()},
        lungs_box=lungs.box(),
        warnings=limits + scan.provenance.warnings,
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


def _candidates(scan: Scan, components: Components, p_nodule: NDArray[np.float64]) -> Candidates:
    return Candidates(
        center_irc=components.center_irc,
        center_xyz=scan.geometry.xyz_from_irc(components.center_irc),
        p_nodule=p_nodule,
        nodule=components.nodule,
    )


def _malignancy(
    scan: Scan,
    nodules: Candidates,
    models: Models,
    config: DiagnoseConfig,
    device: torch.device,
) -> list[float | None]:
    """The probability that each nodule is malignant, None without a malignancy model."""
    if models.malignancy is None:
        return [None] * len(nodules.center_irc)
    exact = replace(config.classify, precision="float32")  # few crops, and every one is reported
    p = classify(
        scan, nodules.center_irc, models.malignancy, exact, device, lambda done, total: None
    )
    return [float(value) for value in p]


def _findings(
    scan: Scan,
    lungs: Lungs,
    nodules: Candidates,
    p_malignant: Sequence[float | None],
    masks: Sequence[BoxMask],
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
    return tuple(findings)

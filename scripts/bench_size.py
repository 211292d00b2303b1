"""Measure the CPU time and the peak memory of a diagnosis against the size of its scan.

    python scripts/bench_size.py [--only CURVE] [--least 50] [--most 1200]

Each case is a chest of 512×512 pixels with balls of soft tissue in its lungs, written as a file,
and a process of its own that reads it, diagnoses it and writes the report. `slices` goes from 50
to 1,200 of them over the same height, with the shipped networks. `candidates` and `findings` put
a U-Net in the place of the shipped one that marks soft tissue, and the lowest threshold in the
place of the card's: so every ball is a candidate and a finding (the first 1,000 are measured).
`both` takes hundreds of findings in the largest scans, and `all marked` that with all soft tissue
marked, as no trained network does. Seconds are those of all cores together.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from luna.ct.read import read_scan
from luna.detect.config import DiagnoseConfig
from luna.detect.pipeline import diagnose
from luna.nets.bundle import Bundle
from luna.nets.models import Models, load_models
from luna.nets.unet import UNet
from luna.report.write import write_report

PIXELS, PIXEL_MM, HEIGHT_MM = 512, 0.7, 300.0
BODY_MM, LUNG_MM, LUNG_AT_MM = (115.0, 165.0), (90.0, 60.0), 75.0
"""Half axes (back, side) of the body and of a lung, and how far a lung is from the midline."""
PITCH_MM = 7.5
"""Balls lie on a grid of this pitch, jittered, so that they never touch."""
EVERY = 1e-12
"""The threshold that makes a finding of every candidate."""


@dataclass(frozen=True)
class Case:
    """A chest, and the part of the pipeline that it is to load."""

    curve: str
    slices: int
    balls: int
    diameter_mm: float = 4.0
    marker: bool = False
    threshold: float | None = None


CASES = [
    *(Case("slices", n, 30, 6.0) for n in (50, 100, 200, 400, 600, 800, 1200)),
    *(Case("candidates", 300, n, marker=True, threshold=EVERY) for n in (100, 1000, 10_000)),
    *(Case("findings", 300, n, marker=True, threshold=EVERY) for n in (1, 10, 100, 500)),
    *(Case("both", n, 500, 6.0, threshold=EVERY) for n in (400, 600, 1200)),
    *(Case("all marked", n, 500, 6.0, True, EVERY) for n in (50, 100, 200, 400, 600, 800, 1200)),
]


def make(case: Case, path: Path) -> None:
    """Write the chest of a case as a MetaImage."""
    rng = np.random.default_rng(0)
    slice_mm = HEIGHT_MM / case.slices
    y, x = (np.mgrid[:PIXELS, :PIXELS].astype(np.float32) - (PIXELS - 1) / 2) * PIXEL_MM
    hu = np.empty((case.slices, PIXELS, PIXELS), np.int16)
    for k in range(case.slices):
        plane = np.where(_ellipse(y, x, BODY_MM) < 1, 40.0, -1000.0).astype(np.float32)
        up = 2 * (k + 0.5) / case.slices - 1
        for side in (-1, 1):
            lung = _ellipse(y, x - side * LUNG_AT_MM, LUNG_MM) < 1 - up**2
            plane[lung] = -850
        plane += rng.standard_normal(plane.shape, np.float32) * 15
        hu[k] = plane
    for center_mm in _places(rng, case):
        _add_ball(hu, center_mm, case.diameter_mm / 2, slice_mm)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((PIXEL_MM, PIXEL_MM, slice_mm))
    sitk.WriteImage(image, str(path), False)


def _ellipse(y, x, half_mm):
    return (y / half_mm[0]) ** 2 + (x / half_mm[1]) ** 2


def _places(rng: np.random.Generator, case: Case) -> np.ndarray:
    """Centres (M, 3) in mm from the middle of the chest, well inside the lungs."""
    reach = [np.arange(-half, half, PITCH_MM) for half in (HEIGHT_MM / 2, 90, 140)]
    grid = np.stack(np.meshgrid(*reach, indexing="ij"), axis=-1).reshape(-1, 3)
    grid += rng.uniform(-1, 1, grid.shape)
    margin = case.diameter_mm / 2 + 2
    z, y, x = grid.T
    room = 1 - (z / (HEIGHT_MM / 2 - margin)) ** 2
    inside = _ellipse(y, np.abs(x) - LUNG_AT_MM, [h - margin for h in LUNG_MM]) < room
    return rng.permutation(grid[inside])[: case.balls]


def _add_ball(hu: np.ndarray, center_mm: np.ndarray, radius_mm: float, slice_mm: float) -> None:
    spacing = np.array([slice_mm, PIXEL_MM, PIXEL_MM])
    center = center_mm / spacing + (np.array(hu.shape) - 1) / 2
    reach = radius_mm / spacing + 1.5
    low = np.maximum(np.ceil(center - reach).astype(int), 0)
    high = np.minimum(np.floor(center + reach).astype(int) + 1, hu.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grid = np.stack(
        np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"),
        axis=-1,
    )
    far_mm = np.linalg.norm((grid - center) * spacing, axis=-1)
    share = np.clip((radius_mm - far_mm) / PIXEL_MM + 0.5, 0, 1)
    hu[box] = np.rint((1 - share) * hu[box] + share * 40)


def marker(models: Models) -> Models:
    """The same with a U-Net that marks soft tissue: its logit is (HU + 400) / 100."""
    arguments = {"context_slices": 3, "depth": 1, "width": 2}
    net = UNet(**arguments)
    block = net.down[0]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(1)
                module.eps = 0.0
        for sign, channel in ((1.0, 0), (-1.0, 1)):  # HU above and below -400, past the ReLU
            block.conv1.weight[channel, 1, 1, 1] = sign
            block.conv1.bias[channel] = 400 * sign
            block.conv2.weight[channel, channel, 1, 1] = 1
            net.head.weight[0, channel, 0, 0] = sign / 100
    bundle = models.segmentation
    card = replace(bundle.card, arguments=arguments, temperature=1.0, threshold=0.5)
    return replace(models, segmentation=Bundle(card, net.eval()))


def run(case: Case, path: Path) -> None:
    """Read, diagnose and report a scan; print CPU seconds by stage and what was found."""
    seconds: dict[str, float] = {}
    peak_gib: dict[str, float] = {}
    start = time.process_time()

    def told(stage: str, done: int = 1, total: int = 1) -> None:
        if done == total:
            seconds[stage] = time.process_time()
            peak_gib[stage] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    models = load_models()
    models = marker(models) if case.marker else models
    told("start")
    scan = read_scan(path)
    told("read")
    config = DiagnoseConfig(threshold=case.threshold)
    found = diagnose(scan, models, config, "cpu", told)
    write_report(scan, found, path.with_suffix(""))
    told("report")
    marks = list(seconds.values())
    stages = {name: b - a for name, b, a in zip(seconds, marks, [start, *marks], strict=False)}
    result = {"candidates": len(found.candidates.p_nodule), "findings": len(found.findings)}
    print(json.dumps(result | {"seconds": stages, "peak_gib": peak_gib}))


def measured(case: Case) -> dict:
    """The outcome of a case in a process of its own, with its CPU seconds and its peak."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.mha"
        command = [sys.executable, __file__, "--case", json.dumps(asdict(case)), "--scan", path]
        subprocess.run([*command, "--make"], check=True)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{case} ended with {process.returncode}")
    result = json.loads(out.splitlines()[-1])
    result["cpu"] = usage.ru_utime + usage.ru_stime
    result["gib"] = usage.ru_maxrss / 2**20
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted({case.curve for case in CASES}))
    parser.add_argument("--least", type=int, default=0, help="no case of fewer slices")
    parser.add_argument("--most", type=int, default=1200, help="no case of more slices")
    parser.add_argument("--balls", type=int, help="only the cases of so many balls")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--scan", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case = Case(**json.loads(arguments.case))
        make(case, arguments.scan) if arguments.make else run(case, arguments.scan)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    least, most = arguments.least, arguments.most
    stages = ("read", "lungs", "segment", "group", "classify", "measure", "opacities", "report")
    print("| curve | slices | candidates | findings | CPU s | " + " | ".join(stages) + " | GiB |")
    print("|" + "---|" * (6 + len(stages)))
    for case in CASES:
        if arguments.only in (None, case.curve) and least <= case.slices <= most:
            if arguments.balls not in (None, case.balls):
                continue
            got = measured(case)
            seconds = " | ".join(f"{got['seconds'][stage]:.1f}" for stage in stages)
            print(
                f"| {case.curve} | {case.slices} | {got['candidates']} | {got['findings']} "
                f"| {got['cpu']:.0f} | {seconds} | {got['gib']:.2f} |",
                flush=True,
            )
            print(json.dumps(got["peak_gib"]), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""Measure the page of a report for ever more slices: its size, its voxels, the memory it takes.

    python scripts/measure_report.py SCAN [SCAN …] [--slices 0 300 600 1200]

A scan is stretched along its index axis by repeating slices, which keeps their noise (0: as it
is). The page is written as `luna diagnose` writes it, in a process of its own, with no findings and
with the lungs' box, to which a large scan is cut. The memory is what it took at its peak beyond
what the process held before, which is the scan (Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from luna.ct.geometry import Geometry
from luna.ct.lungs.find import find_lungs
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect.findings import Candidates, Findings
from luna.report.document import document
from luna.report.html import render
from luna.report.stack import pack

MIB = 1 << 20


def stretched(scan: Scan, slices: int) -> Scan:
    """The same body in another number of slices."""
    if not slices:
        return scan
    index = np.arange(slices) * scan.shape_irc[0] // slices
    x, y, z = scan.geometry.spacing_xyz
    z *= scan.shape_irc[0] / slices
    geometry = Geometry(scan.geometry.origin_xyz, (x, y, z), scan.geometry.direction)
    provenance = replace(scan.provenance, image_numbers=())
    return replace(scan, hu=scan.hu[index], geometry=geometry, provenance=provenance)


def nothing_found(scan: Scan) -> Findings:
    """The findings of a scan in which nothing was found."""
    empty = np.zeros((0, 3))
    return Findings(
        series_uid=scan.series_uid,
        scan_fingerprint=scan.fingerprint(),
        findings=(),
        candidates=Candidates(
            center_irc=empty, center_xyz=empty, p_nodule=empty[:, 0], nodule=np.zeros(0, np.int64)
        ),
        threshold=0.5,
        models={"segmentation": "none", "nodule": "none"},
        weights_sha256={"segmentation": "", "nodule": ""},
        config={},
        device="cpu",
        lung_volume_ml=(0.0, 0.0),
    )


def memory_mib(name: str) -> float:
    """A line of this process's status: VmRSS now, VmHWM at its peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if name in line)


def forget_peak() -> None:
    """Begin the peak anew with what is held now (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measure(path: Path, slices: int, folder: Path) -> None:
    """Write one page and print a row of the table."""
    scan = stretched(read_scan(path), slices)
    findings = replace(nothing_found(scan), lungs_box=find_lungs(scan).box())
    forget_peak()
    before, start = memory_mib("VmRSS"), time.process_time()
    page = render(scan, findings, document(scan, findings))
    (folder / "report.html").write_text(page, encoding="utf-8")
    spent, taken = time.process_time() - start, memory_mib("VmHWM") - before
    stack = pack(scan, findings)
    shape = "×".join(map(str, scan.shape_irc))
    kept = "×".join(map(str, stack.shape_irc))
    voxel = " × ".join(
        f"{a * b:.2f}" for a, b in zip(stack.step_irc, scan.geometry.spacing_irc, strict=True)
    )
    size = (folder / "report.html").stat().st_size / MIB
    print(f"| {shape} | {kept} | {voxel} | {size:.1f} | {spent:.1f} | {taken:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--slices", nargs="+", type=int, default=[0, 300, 600, 1200])
    arguments = parser.parse_args()
    print("| scan | stack | its voxels, mm | page, MiB | CPU, s | memory, MiB |")
    print("|---|---|---|---|---|---|")
    fresh = multiprocessing.get_context("spawn")
    for path in arguments.scans:
        for slices in arguments.slices:
            with TemporaryDirectory() as folder:
                run = fresh.Process(target=measure, args=(path, slices, Path(folder)))
                run.start()
                run.join()


if __name__ == "__main__":
    main()

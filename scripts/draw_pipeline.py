"""Draw the picture of docs/pipeline.md: one slice at each stage of `diagnose`.

    python scripts/draw_pipeline.py docs/images/pipeline.jpg [--weights shipped] [--seed 2]

Prints how many voxels, candidates and findings each stage left.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from luna.ct.lungs.find import find_lungs
from luna.ct.scan import Scan
from luna.detect.config import DiagnoseConfig
from luna.detect.pipeline import diagnose
from luna.detect.segment import segment
from luna.nets.models import load_models
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan
from luna.run.device import choose_device

LUNG_WINDOW = {"cmap": "gray", "vmin": -1350, "vmax": 150}
ORANGE, BLUE = "#e69f00", "#56b4e9"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", nargs="+", type=Path, default=[Path("shipped")])
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    phantom = make_scan(arguments.seed, PhantomConfig(slice_mm=(1.25, 1.25), without_nodules=0))
    models, device = load_models(arguments.weights), choose_device("cpu")
    figure = draw(phantom.scan, models, device)
    figure.savefig(arguments.out, dpi=90, pil_kwargs={"quality": 85})


def draw(scan: Scan, models, device) -> Figure:
    """The scan, its lungs, the voxels that the U-Net marks, and what becomes of them."""
    config = DiagnoseConfig()
    lungs = find_lungs(scan)
    marked = segment(scan, lungs, models.segmentation, config.segment, device, lambda *_: None)
    found = diagnose(scan, models, config, device)
    first = found.findings[0]
    index = round(first.center_irc[0])
    print(f"{np.count_nonzero(marked.voxels)} voxels marked")
    print(f"{len(found.candidates.p_nodule)} candidates, {len(found.findings)} findings")

    figure = Figure(figsize=(15, 4.3), layout="constrained")
    titles = (
        f"the scan, slice {index}",
        "lungs, and the box that is looked at",
        "voxels that the U-Net marks",
        "candidates, and what the classifiers say",
    )
    axes = [figure.add_subplot(1, 4, k + 1, title=title) for k, title in enumerate(titles)]
    for panel in axes:
        panel.imshow(scan.hu[index], **LUNG_WINDOW)
        panel.set_axis_off()
    show_lungs(axes[1], scan, lungs, index)
    show_marks(axes[2], marked, index)
    show_candidates(axes[3], found, index)
    return figure


def show_lungs(axes: Axes, scan: Scan, lungs, index: int) -> None:
    rows, columns = np.mgrid[: scan.shape_irc[1], : scan.shape_irc[2]]
    places = np.stack([np.full(rows.size, index), rows.ravel(), columns.ravel()], axis=1)
    inside = lungs.label_at(places.astype(float)).reshape(rows.shape)
    axes.contourf(inside, levels=[0.5, 1.5, 2.5], colors=[BLUE, ORANGE], alpha=0.35)
    _, height, width = lungs.box()
    x = [width.start, width.stop, width.stop, width.start, width.start]
    y = [height.start, height.start, height.stop, height.stop, height.start]
    axes.plot(x, y, color="white", lw=1, ls="--")


def show_marks(axes: Axes, marked, index: int) -> None:
    i, r, c = marked.start_irc
    plane = marked.voxels[index - i]
    shown = np.ma.masked_where(~plane, plane)
    extent = (c - 0.5, c + plane.shape[1] - 0.5, r + plane.shape[0] - 0.5, r - 0.5)
    axes.imshow(shown, cmap="autumn", vmin=0, vmax=2, extent=extent)


def show_candidates(axes: Axes, found, index: int) -> None:
    near = np.abs(found.candidates.center_irc[:, 0] - index) < 4
    rejected = near & (found.candidates.p_nodule < found.threshold)
    _, rows, columns = found.candidates.center_irc[rejected].T
    axes.scatter(columns, rows, s=60, facecolors="none", edgecolors=BLUE, lw=0.8)
    for finding in found.findings:
        i, row, column = finding.center_irc
        if abs(i - index) < 4:
            axes.scatter(column, row, s=160, facecolors="none", edgecolors=ORANGE, lw=1.6)
            said = f"{finding.p_nodule:.2f}"
            if finding.p_malignant is not None:
                said += f", malignant {finding.p_malignant:.2f}"
            axes.annotate(
                said, (column, row), (10, 10), textcoords="offset points", color=ORANGE, fontsize=9
            )


if __name__ == "__main__":
    main()

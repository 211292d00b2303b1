"""Draw the learning curves of runs from their metrics.jsonl.

python scripts/plot_runs.py RUN [RUN …] --out curves.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure

SHOWN = {
    "segmentation": ("loss/all", "recall", "dice"),
    "nodule": ("loss/all", "auc", "recall"),
    "malignancy": ("loss/all", "auc", "recall"),
}


def draw(runs: list[Path]) -> Figure:
    """A row of panels per run: training and validation over epochs."""
    figure = Figure(figsize=(9, 2.6 * len(runs)), layout="constrained")
    for row, run in enumerate(runs):
        task = run.name.split("-")[0]
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for column, name in enumerate(SHOWN[task]):
            axes = figure.add_subplot(len(runs), 3, row * 3 + column + 1, xlabel="epoch")
            axes.set_title(f"{task}: {name}", fontsize=9)
            for part in ("train", "validation"):
                points = [(x["epoch"], x[part][name]) for x in lines if part in x]
                axes.plot(*zip(*points, strict=True), marker=".", label=part)
            axes.grid(alpha=0.3)
            if column == 0:
                axes.legend(fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    draw(arguments.runs).savefig(arguments.out, dpi=100)


if __name__ == "__main__":
    main()

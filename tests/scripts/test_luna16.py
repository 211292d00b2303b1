"""The recipe for LUNA16's ten folds, run in small on phantoms in its layout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from luna.nets.models import SHIPPED_FOLDER
from luna.phantom.cohort import write_cohort
from luna.phantom.config import PhantomConfig
from luna.run.config import CONFIGS

SCRIPT = Path(__file__).parents[2] / "scripts/luna16.sh"
SMALL = {
    "FOLDS": "0 1",
    "WORKERS": "1",
    # Enough steps that it marks nodules, without which nothing can be calibrated.
    "SEG": "--set sampling.samples_per_epoch=320 --set train.epochs=8 --set train.batch_size=16 "
    "--set network.depth=2 --set network.width=8 --set network.spacing_mm=2.5 "
    "--set false_negative_weight=8.0 --set train.learning_rate=0.01 --set train.threads=1",
    "CLS": "--set sampling.samples_per_epoch=64 --set train.epochs=1 --set train.batch_size=16 "
    "--set network.widths=[2,4,4,4] --set train.threads=1",
    "MALIGNANCY": "--set sampling.samples_per_epoch=32 --set train.epochs=1 "
    "--set train.batch_size=16 --set network.widths=[2,4,4,4] --set train.threads=1",
}


def run(data: Path, out: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | SMALL | {"PATH": path, "OMP_NUM_THREADS": "1"}
    command = ["sh", str(SCRIPT), str(data), str(out), str(SHIPPED_FOLDER)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=3000, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
def test_every_line_runs_and_a_second_run_does_nothing_again(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    config = PhantomConfig(
        size=96, slab_mm=80, without_nodules=0, extra_nodules=12.0, negatives=(8, 8)
    )
    write_cohort(data, 12, 5, config)
    head = "seriesuid,coordX,coordY,coordZ,diameter_mm"
    uid = (data / "seriesuids.csv").read_text().split()[0]
    (data / "annotations_excluded.csv").write_text(f"{head}\n{uid},0,0,0,-1\n")
    run(data, out)
    tested = json.loads((out / "all/metrics.json").read_text())
    assert "froc" in json.dumps(tested)
    # Two folds of two scans each, and none twice.
    series = (out / "all/series.csv").read_text().split()[1:]
    assert len(series) == len(set(series)) == 4
    made = {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}
    assert {path.relative_to(out).parts[0] for path in made} >= {"tested", "all", "versus-book"}
    run(data, out)
    assert made == {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}
    assert len(list((out / "runs").iterdir())) == 2 * 4  # nothing was trained twice
    # No test scan chose anything.
    for fold in "01":
        chosen = set((out / f"validation/fold{fold}.csv").read_text().split()[1:])
        assert not chosen & {path.stem for path in (data / f"subset{fold}").glob("*.mhd")}


def test_the_configs_of_the_recipe_divide_by_luna16_s_folds() -> None:
    for name in ("luna16-seg", "luna16-cls", "luna16-malignancy"):
        text = (CONFIGS / f"{name}.toml").read_text()
        assert 'method = "folds"' in text
        assert f"--config {name}" in SCRIPT.read_text()

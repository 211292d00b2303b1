"""One batch shared among processes and machines: what it leaves is what one process leaves."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from luna.ct.scan import Scan
from luna.phantom.cohort import write_metaimage

from ..run.batch.clusters import RealCluster, real_cluster

Luna = Callable[..., Any]
NAMES = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def scans(nodule_chest: Scan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four chests, and a file that is none."""
    root = tmp_path_factory.mktemp("scans")
    for number, name in enumerate(NAMES):
        hu = nodule_chest.hu.copy()
        hu[0, 0, 0] += number
        write_metaimage(root / f"{name}.mhd", hu, nodule_chest.geometry)
    (root / "broken.mhd").write_text("ObjectType = Image\n")
    return root


@pytest.fixture(scope="module")
def weights(original: Path) -> Path:
    return original / "weights"


def made_of(out: Path) -> dict[str, Any]:
    """Every file of the reports, without times, dates and the version of programs."""
    files: dict[str, Any] = {}
    for path in sorted(out.glob("*/*")):
        name = f"{path.parent.name}/{path.name}"
        if path.name == "report.json":
            report = json.loads(path.read_text())
            for key in ("created", "seconds"):
                report.pop(key, None)
            files[name] = without_times(report)
        elif path.suffix in (".csv", ".gz"):
            files[name] = path.read_bytes()
        else:
            files[name] = path.suffix
    return files


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        times = ("seconds", "created", "computed", "time")
        return {k: without_times(v) for k, v in value.items() if k not in times}
    return value


def outcomes(text: str) -> dict[str, str]:
    lines = [json.loads(line) for line in text.splitlines()]
    return {line["scan"]: line["outcome"] for line in lines}


@pytest.fixture(scope="module")
def alone(scans: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process makes of the scans."""
    from luna.cli import app

    out = tmp_path_factory.mktemp("alone") / "out"
    assert app.run(["diagnose", str(scans), "--weights", str(weights), "--out", str(out)]) == 5
    return made_of(out)


def test_shares_leave_no_list_and_a_run_over_all_keeps_what_they_made(
    luna: Luna, scans: Path, weights: Path, alone: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("diagnose", scans, "--weights", weights, "--out", out, "--json")
    seen: dict[str, str] = {}
    for number in (1, 2, 3):
        outcome = luna(*command, "--shard", f"{number}/3")
        share = outcomes(outcome.out)
        assert not set(share) & set(seen)
        assert outcome.code == (5 if "broken" in share else 0), outcome.err
        seen |= share
        assert not (out / "index.html").exists()
    assert seen == {**dict.fromkeys(NAMES, "done"), "broken": "failed"}
    whole = luna(*command)
    assert outcomes(whole.out) == {**dict.fromkeys(NAMES, "kept"), "broken": "failed"}
    assert (out / "index.html").exists()
    assert made_of(out) == alone


def test_two_shares_may_write_into_one_folder_at_once_and_one_share_not_twice(
    luna: Luna, scans: Path, weights: Path, tmp_path: Path
) -> None:
    from luna.run.folders import LOCK, held_folder

    out = tmp_path / "out"
    command = ("diagnose", scans, "--weights", weights, "--out", out, "--dry-run")
    with held_folder(out, force=False, warn=print, lock=f"{LOCK}-1-of-3"):
        assert luna(*command, "--shard", "2/3").code == 0
        again = luna(*command[:-1], "--shard", "1/3")
        assert (again.code, "another run is writing into this folder" in again.err) == (2, True)
    assert "no share 'x'" in luna(*command, "--shard", "x").err


def test_an_evaluation_is_computed_in_shares_and_scored_at_once(
    luna: Luna, original: Path, tmp_path: Path
) -> None:
    command = (
        "evaluate", original / "data", "--weights", original / "weights", "--set", "samples=0",
    )  # fmt: skip
    out = tmp_path / "shared"
    for number in (1, 2):
        share = luna(*command, "--out", out, "--shard", f"{number}/2")
        assert share.code == 0, share.err
        assert f"share {number}/2" in share.out
        assert not (out / "metrics.json").exists()
    whole = luna(*command, "--out", out)
    assert whole.code == 0
    assert whole.err.count(": kept") == 3
    alone = luna(*command, "--out", tmp_path / "alone")
    assert alone.code == 0
    for name in ("detections.csv", "froc.csv", "nodules.csv"):
        assert (out / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    refused = luna(*command, "--out", out, "--shard", "1/2", "--calibrate", tmp_path / "new")
    assert (refused.code, "--calibrate needs all scans" in refused.err) == (2, True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with real_cluster(tmp_path_factory.mktemp("cluster"), 2) as running:
        yield running


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_leave_what_one_process_leaves(
    luna: Luna, scans: Path, weights: Path, alone: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with real_cluster(tmp_path, 2) as cluster:
        kill = threading.Thread(target=killed_at_its_first_report, args=(cluster, out))
        kill.start()
        outcome = luna(
            "diagnose",
            scans,
            "--weights",
            weights,
            "--out",
            out,
            "--cluster",
            cluster.file,
            "--json",
        )
        kill.join()
    assert outcomes(outcome.out) == {**dict.fromkeys(NAMES, "done"), "broken": "failed"}
    assert outcome.code == 5
    assert (out / "index.html").exists()
    assert made_of(out) == alone
    again = luna("diagnose", scans, "--weights", weights, "--out", out, "--json")
    assert set(outcomes(again.out).values()) == {"kept", "failed"}


def killed_at_its_first_report(cluster: RealCluster, out: Path) -> None:
    """Kill the first worker as soon as a scan's folder is there: a report is being written."""
    end = time.monotonic() + 300
    while not [path for path in out.glob("*") if path.is_dir()] and time.monotonic() < end:
        time.sleep(0.01)
    cluster.processes[1].send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_coordinator_is_started_again_and_goes_on(
    spawn: Luna, luna: Luna, cluster: RealCluster, scans: Path, weights: Path,
    alone: dict[str, Any], tmp_path: Path,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    command = ("diagnose", scans, "--weights", weights, "--out", out, "--cluster", cluster.file)
    process = spawn(*command)
    end = time.monotonic() + 300
    while not list(out.glob("*/result.json")) and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    outcome = luna(*command, "--json")
    made = outcomes(outcome.out)
    assert "kept" in made.values(), made
    assert made.pop("broken") == "failed"
    assert set(made) == set(NAMES)
    assert made_of(out) == alone


@pytest.mark.slow
def test_an_evaluation_on_a_cluster_is_that_of_one_process(
    luna: Luna, cluster: RealCluster, original: Path, tmp_path: Path
) -> None:
    command = (
        "evaluate", original / "data", "--weights", original / "weights", "--set", "samples=0",
    )  # fmt: skip
    for name, more in {"alone": (), "there": ("--cluster", cluster.file)}.items():
        outcome = luna(*command, "--out", tmp_path / name, *more)
        assert outcome.code == 0, outcome.err
    for name in ("detections.csv", "froc.csv", "nodules.csv"):
        there = (tmp_path / "there" / name).read_bytes()
        assert there == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.slow
def test_prep_on_a_cluster_stores_what_one_process_stores(
    luna: Luna, cluster: RealCluster, small_cohort: Path, small_cache: Path,
    contents_of: Callable[[Path], dict[str, Any]], tmp_path: Path,
) -> None:  # fmt: skip
    command = ("prep", small_cohort, "--cache", tmp_path / "cache", "--cluster", cluster.file)
    outcome = luna(*command)
    assert outcome.code == 0, outcome.err
    assert contents_of(tmp_path / "cache") == contents_of(small_cache)
    again = luna(*command)
    assert "4 of them from an earlier run" in again.out


@pytest.mark.slow
def test_workers_with_other_networks_are_refused(
    luna: Luna, cluster: RealCluster, scans: Path, weights: Path, tmp_path: Path
) -> None:
    """As where a worker sees another file under the same name: here they change on the way."""
    from luna.nets import models

    mine = shutil.copytree(weights, tmp_path / "weights")
    load = models.load_models

    def loaded(paths: Any) -> Any:
        found = load(paths)
        card = next(mine.glob("*nodule*/card.json"))
        card.write_text(card.read_text().replace('"threshold": 0.01', '"threshold": 0.02'))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load_models", loaded)
        outcome = luna(
            "diagnose",
            scans,
            "--weights",
            mine,
            "--out",
            tmp_path / "out",
            "--cluster",
            cluster.file,
        )
    assert outcome.code == 6, outcome.err
    assert "a worker finds other networks" in outcome.err
    assert os.environ.get("DASK_SCHEDULER_ADDRESS") is None

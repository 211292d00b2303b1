"""`luna evaluate DATA` on three small chests, with networks whose marks are known."""

import csv
import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from luna.data.luna16.folder import read_luna16
from luna.detect import pipeline
from luna.detect.config import SegmentConfig
from luna.evaluate.cohort import CohortConfig, diagnose_cohort
from luna.evaluate.scans import write_outcome

UIDS = ("1.0", "1.1", "1.2")


@pytest.fixture(scope="module")
def uninterrupted(original, models, tmp_path_factory) -> bytes:
    """detections.csv of one run through."""
    out, data = tmp_path_factory.mktemp("whole"), read_luna16(original / "data")
    config = CohortConfig(segment=SegmentConfig(precision="float32")).diagnosing()
    run = diagnose_cohort(data.files, models, config, torch.device("cpu"), out)
    write_outcome(out, data, run, malignancy=False)
    return (out / "detections.csv").read_bytes()


@pytest.fixture
def cohort(original, tmp_path) -> Path:
    return Path(shutil.copytree(original / "data", tmp_path / "data"))


@pytest.fixture
def weights(original, tmp_path) -> Path:
    return Path(shutil.copytree(original / "weights", tmp_path / "weights"))


@pytest.fixture
def arguments(cohort, weights, tmp_path) -> list[Any]:
    given = ["evaluate", cohort, "--weights", weights, "--out", tmp_path / "out"]
    return [*given, "--set", "samples=100", "--set", "segment.precision=float32"]


@pytest.fixture
def evaluate(luna, arguments):
    return lambda *more: luna(*arguments, *more)


@pytest.fixture
def validate(luna, cohort, weights, tmp_path):
    given = ["validate", weights, cohort, "--role", "nodule", "--out", tmp_path / "out"]
    return lambda *more: luna(*given, *more)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def outcomes(err: str) -> dict[str, str]:
    """What became of each scan, from the lines on stderr."""
    lines = [line.split(": ", 1) for line in err.splitlines() if line.startswith("scan ")]
    return {head.split()[-1]: rest.split(",")[0] for head, rest in lines}


def test_every_scan_is_diagnosed_and_scored(evaluate, luna, cohort, weights, tmp_path):
    outcome = evaluate()
    assert outcome.code == 0
    assert outcomes(outcome.err) == dict.fromkeys(UIDS, "done")
    out = tmp_path / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["cohort"] == {
        "scans": 3,
        "scans_with_nodules": 2,
        "scans_without_result": 0,
        "nodules": 4,
        "folds": 1,
    }
    assert metrics["counts"]["true_positives"] == 4
    assert metrics["counts"]["false_positives"] == 4  # the two balls of each that nobody annotated
    assert [group["name"] for group in metrics["kinds"]] == ["<b>odd</b>", "solid"]
    assert metrics["malignancy"]["diameter"]["auc"] == 1
    assert metrics["malignancy"]["diameter"]["positives"] == 1  # of 1.2 nothing is known
    assert "2 of 4 nodules have no verdict on malignancy" in outcome.err
    assert metrics["config"]["threshold"] == 0.01  # the card's
    assert "&lt;b&gt;odd" in (out / "evaluation.html").read_text()
    assert json.loads((out / "run.json").read_text())["device"] == "cpu"
    luna(
        "diagnose", cohort / "subset0" / "1.0.mhd", "--weights", weights,
        "--out", tmp_path / "one", "--set", "segment.precision=float32",
    )  # fmt: skip
    columns = ("coordX", "coordY", "coordZ", "probability")
    one, all_of_it = rows_of(tmp_path / "one" / "detections.csv"), rows_of(out / "detections.csv")
    assert [[row[c] for c in columns] for row in one] == [
        [row[c] for c in columns] for row in all_of_it if row["seriesuid"] == "1.0"
    ]
    assert all(float(row["diameter_mm"]) > 5 for row in all_of_it)


def test_what_it_wrote_scores_the_same_from_files(evaluate, luna, tmp_path):
    assert evaluate().code == 0
    out = tmp_path / "out"
    again = luna(
        "score", out / "detections.csv", "--annotations",
        out / "annotations.csv", "--series", out / "series.csv", "--out", tmp_path / "again",
        "--set", "samples=100", "--set", "threshold=0.01",
    )  # fmt: skip
    assert again.code == 0
    first, second = (
        json.loads((folder / "metrics.json").read_text()) for folder in (out, tmp_path / "again")
    )
    # Only the run itself knows of what its marks are parts.
    assert first["lost"].pop("fragment") == 0
    assert second["lost"].pop("fragment") is None
    assert first == second


def test_what_is_done_is_not_done_again(evaluate, cohort, tmp_path):
    evaluate()
    out = tmp_path / "out"
    first = {name: (out / name).read_bytes() for name in ("detections.csv", "metrics.json")}
    outcome = evaluate()
    assert outcomes(outcome.err) == dict.fromkeys(UIDS, "kept")
    assert {name: (out / name).read_bytes() for name in first} == first
    # Another scan in the same file, and a damaged result.
    shutil.copy(cohort / "subset2" / "1.2.zraw", cohort / "subset0" / "1.0.zraw")
    header = (cohort / "subset2" / "1.2.mhd").read_text().replace("1.2.zraw", "1.0.zraw")
    (cohort / "subset0" / "1.0.mhd").write_text(header)
    stored = out / "scans" / "1.2.json"
    stored.write_text(stored.read_text().replace("0.", "1.", 1))
    outcome = evaluate()
    assert outcomes(outcome.err) == {"1.0": "done", "1.1": "kept", "1.2": "done"}
    assert "1.2 was damaged (its checksum differs" in outcome.err
    assert (out / "detections.csv").read_bytes() == first["detections.csv"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("evaluate", "scans/detections.csv"),
        ("validate", "scans-nodule/detections.csv"),
        ("evaluate", "run.json"),
    ],
)
def test_a_folder_that_only_looks_like_an_evaluation_is_left_alone(
    evaluate, validate, tmp_path, command, name
):
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    outcome = {"evaluate": evaluate, "validate": validate}[command]()
    assert (outcome.code, "already holds files" in outcome.err) == (2, True)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "mine"


def test_the_data_is_not_written_over(evaluate, validate, cohort):
    before = (cohort / "annotations.csv").read_bytes()
    for command in (evaluate, validate):
        outcome = command("--force", "--out", cohort)
        assert outcome.code == 2
        assert "overwrite their own input" in outcome.err
    assert (cohort / "annotations.csv").read_bytes() == before


def test_another_config_or_card_does_all_again(evaluate, weights):
    evaluate()
    more = ("--set", "segment.threshold=0.4")
    assert set(outcomes(evaluate(*more).err).values()) == {"done"}
    card = weights / "test-nodule" / "card.json"
    card.write_text(card.read_text().replace('"temperature": 1.0', '"temperature": 2.0'))
    assert set(outcomes(evaluate(*more).err).values()) == {"done"}
    card.write_text(card.read_text().replace('"notice": "for tests"', '"notice": "other words"'))
    assert set(outcomes(evaluate(*more).err).values()) == {"kept"}


def test_one_bad_scan_stops_no_other(evaluate, cohort, tmp_path):
    whole = (cohort / "subset1" / "1.1.zraw").read_bytes()
    (cohort / "subset1" / "1.1.zraw").write_bytes(whole[:100])
    outcome = evaluate()
    assert outcome.code == 5
    assert "warning: no result for 1.1: " in outcome.err
    assert "error: 1 of 3 scans have no result" in outcome.err
    assert outcomes(outcome.err)["1.2"] == "done"
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "Scans without a result" in page
    assert "1.1.zraw" in page
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["cohort"]["scans_without_result"] == 1
    (cohort / "subset1" / "1.1.zraw").write_bytes(whole)
    outcome = evaluate()
    assert outcome.code == 0
    assert outcomes(outcome.err) == {"1.0": "kept", "1.1": "done", "1.2": "kept"}
    assert "Scans without a result" not in (tmp_path / "out" / "evaluation.html").read_text()


def test_a_link_to_nothing_stops_no_other_scan(evaluate, cohort):
    link = cohort / "subset0" / "1.0.mhd"
    link.unlink()
    link.symlink_to("gone.mhd")
    outcome = evaluate()
    assert outcome.code == 5
    assert "warning: no result for 1.0: 1.0.mhd: no such file" in outcome.err
    assert outcomes(outcome.err)["1.2"] == "done"


def test_a_fold_or_a_list_of_scans(evaluate, tmp_path):
    assert set(outcomes(evaluate("--fold", "2").err)) == {"1.2"}
    listed = tmp_path / "list.csv"
    listed.write_text("1.2\n1.0\n")
    assert outcomes(evaluate("--series-list", listed).err) == {"1.2": "kept", "1.0": "done"}
    outcome = evaluate("--fold", "7")
    assert (outcome.code, "fold 7 has no scans" in outcome.err) == (2, True)
    listed.write_text("1.2\n1.9\n")
    outcome = evaluate("--series-list", listed)
    assert outcome.code == 3
    assert "list.csv: line 2: this scan is not on disk ('1.9')" in outcome.err


def test_a_dry_run_computes_and_writes_nothing(evaluate, tmp_path):
    outcome = evaluate("--dry-run")
    assert "would diagnose 3 scans" in outcome.out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate"], "missing argument 'data'"),
        (["evaluate", "a", "b"], "unexpected extra argument(s) (b)"),
        (["evaluate", "data", "--annotations", "a"], "no such option: --annotations"),
        (["score"], "missing argument 'marks'"),
        (["score", "a.csv"], "a.csv: a file of marks needs --annotations and --series"),
        (["score", "a.csv", "--series", "s"], "--annotations and --series are needed together"),
        (["score", "a.csv", "--excluded", "e"], "--annotations and --series are needed together"),
        (["score", "a", "--annotations", "a", "--series", "s", "--fold", "1"], "--fold"),
        (["validate", "bundle"], "missing argument 'data'"),
        (["validate", "bundle", "data", "--calibrate", "c"], "no such option: --calibrate"),
    ],
)
def test_options_that_do_not_go_together(luna, tmp_path, words, message):
    outcome = luna(*words, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert message in outcome.err.lower()
    assert not (tmp_path / "out").exists()


def test_calibrated_bundles_are_new_ones_and_give_what_they_promise(
    evaluate, luna, arguments, weights, tmp_path
):
    before = {path: path.read_bytes() for path in weights.rglob("*") if path.is_file()}
    new = tmp_path / "new"
    outcome = evaluate("--calibrate", new, "--set", "fp_per_scan=0.7")
    assert outcome.code == 0
    assert "calibrated: temperature" in outcome.err
    assert {path: path.read_bytes() for path in before} == before
    card = json.loads((new / "nodule" / "card.json").read_text())
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert card["temperature"] == metrics["calibration"]["temperature"]
    assert card["metrics"]["calibration"]["scans"] == 3
    arguments[3], arguments[5] = new, tmp_path / "again"
    assert luna(*arguments).code == 0
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again["config"]["threshold"] == card["threshold"]
    for name in ("fp_per_scan", "sensitivity"):
        assert again["at_threshold"][name] == metrics["operating"][name]
    assert again["calibration"]["temperature"] == pytest.approx(1, abs=1e-3)
    assert evaluate("--calibrate", new).code == 2  # it holds bundles now


def test_the_page_shows_what_went_wrong(evaluate, cohort, tmp_path):
    table = cohort / "annotations.csv"
    table.write_text(table.read_text() + "1.1,-62.5,30.0,0.0,9\n")
    assert evaluate().code == 0
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "9.0 mm, unknown: no mark" in page
    assert page.count("<circle") == 1 + 4  # one miss, four false marks
    assert page.count('href="data:image/jpeg;base64,') == 5


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_to_the_same_numbers(
    spawn, evaluate, arguments, uninterrupted, tmp_path, how
):
    process = spawn(*arguments)
    results = tmp_path / "out" / "scans"
    until = time.monotonic() + 120
    while not list(results.glob("1*.json")) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(how)
    assert process.wait() == (143 if how == signal.SIGTERM else -signal.SIGKILL)
    assert not (tmp_path / "out" / "detections.csv").exists()
    outcome = evaluate()
    assert outcome.code == 0
    assert outcomes(outcome.err)["1.0"] == "kept"
    assert (tmp_path / "out" / "detections.csv").read_bytes() == uninterrupted


@pytest.mark.slow
def test_two_workers_write_what_one_writes(evaluate, uninterrupted, cohort, tmp_path):
    (cohort / "subset1" / "1.1.zraw").write_bytes(b"no")
    outcome = evaluate("--workers", "2")
    assert outcome.code == 5
    assert "warning: no result for 1.1: 1.1.zraw" in outcome.err
    found = (tmp_path / "out" / "detections.csv").read_bytes()
    assert found == b"".join(
        line for line in uninterrupted.splitlines(keepends=True) if not line.startswith(b"1.1,")
    )


def test_a_scan_that_exhausts_the_card_is_counted_and_the_others_are_done(
    evaluate, tmp_path, monkeypatch, uninterrupted
):
    """Smaller batches are tried first; what fits in none stops no other, and can be tried again."""
    whole, sizes = pipeline.segment, []

    def full(scan, lungs, bundle, config, device, progress):
        if scan.series_uid == UIDS[1]:
            sizes.append(config.batch_slices)
            raise torch.AcceleratorError("CUDA error: out of memory")
        return whole(scan, lungs, bundle, config, device, progress)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "segment", full)
        outcome = evaluate()
    assert outcome.code == 5
    assert sizes == [4, 2, 1]
    assert outcomes(outcome.err) == {UIDS[0]: "done", UIDS[1]: "failed", UIDS[2]: "done"}
    assert f"no result for {UIDS[1]}: out of memory" in outcome.err
    again = evaluate()
    assert again.code == 0
    assert outcomes(again.err) == {UIDS[0]: "kept", UIDS[1]: "done", UIDS[2]: "kept"}
    assert (tmp_path / "out" / "detections.csv").read_bytes() == uninterrupted

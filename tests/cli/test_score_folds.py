"""`luna score FOLDER…`: evaluated folds as one score."""

import json
from pathlib import Path

import pytest

MARKS = "seriesuid,coordX,coordY,coordZ,probability,diameter_mm"
NODULES = "seriesuid,coordX,coordY,coordZ,diameter_mm,kind,malignant"
EXCLUDED = "seriesuid,coordX,coordY,coordZ,diameter_mm"


def write_fold(folder: Path, number: int) -> Path:
    """Two scans: one with a nodule that is found and a false mark, one that failed."""
    folder.mkdir(parents=True)
    one, two = f"1.{number}.1", f"1.{number}.2"
    tables = {
        "series.csv": ["seriesuid,subset,failed", f"{one},{number},", f"{two},{number},bad"],
        "detections.csv": [
            MARKS,
            f"{one},0,0,0,0.{9 - number},7.5",
            f"{one},50,0,0,0.{5 - number},",
            f"{one},90,0,0,0.99,",
        ],
        "annotations.csv": [NODULES, f"{one},1,0,0,{8 + number},solid,{number > 0}"],
        "annotations_excluded.csv": [EXCLUDED, f"{one},91,0,0,-1"],
    }
    for name, lines in tables.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def folds(tmp_path) -> list[Path]:
    return [write_fold(tmp_path / "runs" / f"fold{number}", number) for number in range(3)]


@pytest.fixture
def pool(luna, folds, tmp_path):
    def call(*more: object, of: list[Path] = folds):
        words = ("--out", tmp_path / "out", "--set", "samples=100")
        return luna("score", *of, *words, *more)

    return call


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_folds_are_scored_as_one(pool, luna, folds, tmp_path):
    outcome = pool()
    assert outcome.code == 0, outcome.err
    assert "6 scans, 3 with nodules; 3 nodules; 3 folds pooled." in outcome.out
    assert "3 of 6 scans have no result" in outcome.err
    out = tmp_path / "out"
    found = metrics_of(out)
    assert found["cohort"]["folds"] == 3
    assert [(group["name"], group["scans"]) for group in found["subsets"]] == [
        ("fold0", 2),
        ("fold1", 2),
        ("fold2", 2),
    ]
    assert found["counts"]["true_positives"] == 3
    assert found["counts"]["ignored_on_excluded"] == 3
    assert found["kinds"][0]["name"] == "solid"
    assert [source["role"] for source in found["inputs"]][:3] == [
        "fold fold0",
        "fold fold1",
        "fold fold2",
    ]
    # The challenge's own way: one submission for all scans.
    again = luna(
        "score", out / "detections.csv", "--annotations",
        out / "annotations.csv", "--excluded", out / "annotations_excluded.csv", "--series",
        out / "series.csv", "--out", tmp_path / "again", "--set", "samples=100",
    )  # fmt: skip
    assert again.code == 0
    second = metrics_of(tmp_path / "again")
    for changed in ("inputs", "cohort"):
        found.pop(changed), second.pop(changed)
    assert found == second


def test_a_runs_folder_may_hold_its_evaluation(pool, folds, tmp_path):
    pool()
    first = metrics_of(tmp_path / "out")
    for fold in folds:
        inner = fold.rename(fold.with_name("moved"))
        fold.mkdir()
        inner.rename(fold / "evaluation")
    assert pool("--force").code == 0
    assert metrics_of(tmp_path / "out") == first


def test_a_score_that_is_not_finished_has_no_page_of_an_earlier_one(pool, tmp_path, monkeypatch):
    pool()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("luna.evaluate.submission.write_table", killed)
    assert pool("--force").code == 130
    assert not (tmp_path / "out" / "evaluation.html").exists()


def test_a_list_that_an_earlier_score_left_is_not_believed(pool, folds, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "annotations_excluded.csv").write_text(f"{EXCLUDED}\n1.0.1,50,0,0,9\n")
    for folder in folds:
        (folder / "annotations_excluded.csv").unlink()
    assert pool("--force").code == 0
    assert not (tmp_path / "out" / "annotations_excluded.csv").exists()
    assert "excluded" not in {source["role"] for source in metrics_of(tmp_path / "out")["inputs"]}


def test_folds_are_not_pooled_into_one_of_them(pool, folds):
    before = (folds[0] / "detections.csv").read_bytes()
    outcome = pool("--force", "--out", folds[0])
    assert outcome.code == 2
    assert "overwrite their own input" in outcome.err
    assert (folds[0] / "detections.csv").read_bytes() == before


def test_a_second_system_is_compared(pool, folds, tmp_path):
    pool()
    unsure = (tmp_path / "out" / "detections.csv").read_text().replace(",0,0,0,0.", ",0,0,0,0.0")
    (tmp_path / "unsure.csv").write_text(unsure)
    outcome = pool("--versus", tmp_path / "unsure.csv", "--force")
    assert outcome.code == 0, outcome.err
    assert "Paired comparison" in outcome.out
    assert metrics_of(tmp_path / "out")["comparison"]["difference"] > 0


def test_a_scan_in_two_folds_is_refused(pool, folds, tmp_path):
    table = folds[2] / "series.csv"
    table.write_text(table.read_text() + "1.0.1,2,\n")
    outcome = pool()
    assert outcome.code == 2
    assert "the scan 1.0.1 is in two folds" in outcome.err
    assert "fold2/series.csv" in outcome.err
    assert "fold0/series.csv" in outcome.err
    assert not (tmp_path / "out").exists()


def test_the_same_folder_twice_is_refused(pool, folds):
    assert "is in two folds" in pool(of=[folds[0], folds[0]]).err


def test_a_folder_without_an_evaluation_is_refused(pool, folds, tmp_path):
    (tmp_path / "runs" / "bundle").mkdir()
    outcome = pool(of=[*folds, tmp_path / "runs"])
    assert outcome.code == 2
    assert "no evaluation here" in outcome.err
    assert "--fold K" in outcome.err


def test_an_excluded_list_of_some_folds_only_is_refused(pool, folds):
    (folds[1] / "annotations_excluded.csv").unlink()
    outcome = pool()
    assert outcome.code == 2
    assert "fold1: no annotations_excluded.csv here" in outcome.err


def test_a_bad_table_is_named_by_file_and_line(pool, folds, tmp_path):
    table = folds[1] / "detections.csv"
    table.write_text(table.read_text().replace("0.8", "1.8"))
    outcome = pool()
    assert outcome.code == 3
    assert "fold1/detections.csv: line 2: probability is outside 0..1 ('1.8')" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_column_that_a_fold_lacks_is_left_out(pool, folds, tmp_path):
    table = folds[1] / "annotations.csv"
    lines = [line.rsplit(",", 2)[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(lines) + "\n")
    assert pool().code == 0
    found = metrics_of(tmp_path / "out")
    assert found["kinds"] == []
    assert found["malignancy"] is None


def test_a_dry_run_writes_nothing(pool, tmp_path):
    outcome = pool("--dry-run")
    assert "would pool 3 folds of 6 scans" in outcome.out
    assert not (tmp_path / "out").exists()


def write_threshold(folder: Path, threshold: object) -> None:
    (folder / "metrics.json").write_text(json.dumps({"config": {"threshold": threshold}}))


def test_a_folder_is_scored_at_its_own_threshold(luna, pool, folds, tmp_path):
    for fold in folds:
        write_threshold(fold, 0.25)
    assert pool().code == 0
    assert metrics_of(tmp_path / "out")["config"]["threshold"] == 0.25
    assert pool("--force", of=folds[:1]).code == 0
    assert metrics_of(tmp_path / "out")["at_threshold"]["threshold"] == 0.25
    truth = ("--annotations", folds[0] / "annotations.csv", "--series", folds[0] / "series.csv")
    assert pool("--force", *truth, of=folds[:1]).code == 0
    assert metrics_of(tmp_path / "out")["config"]["threshold"] == 0.25
    assert pool("--force", "--set", "threshold=0.75").code == 0
    assert metrics_of(tmp_path / "out")["config"]["threshold"] == 0.75


def test_thresholds_that_differ_are_not_chosen_from(pool, folds, tmp_path):
    write_threshold(folds[0], 0.25)
    write_threshold(folds[2], 0.5)
    outcome = pool()
    assert outcome.code == 2
    assert "different thresholds" in outcome.err
    assert f"0.25 in {folds[0]}" in outcome.err
    assert "--set threshold=" in outcome.err
    assert not (tmp_path / "out" / "evaluation.html").exists()
    assert pool("--set", "threshold=0.5").code == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"config": {}}', '{"config": {"threshold": "x"}}'])
def test_a_damaged_record_of_the_threshold_is_not_passed_over(pool, folds, text):
    (folds[1] / "metrics.json").write_text(text)
    outcome = pool()
    assert (outcome.code, "threshold cannot be read" in outcome.err) == (3, True)

"""`luna score` as a user calls it."""

import json
import os

import pytest


@pytest.fixture
def score(luna, tmp_path):
    """Run the command on one hit and one false mark of three scans."""
    head = "seriesuid,coordX,coordY,coordZ,"
    (tmp_path / "marks.csv").write_text(head + "probability\n1.1,0,0,0,0.9\n1.2,5,5,5,0.3\n")
    (tmp_path / "nodules.csv").write_text(head + "diameter_mm\n1.1,1,0,0,8\n")
    (tmp_path / "series.csv").write_text("1.1\n1.2\n1.3\n")
    given = ["--annotations", tmp_path / "nodules.csv", "--series", tmp_path / "series.csv"]
    given += ["--out", tmp_path / "out"]
    return lambda *more: luna(
        "score", tmp_path / "marks.csv", *given, "--set", "samples=100", *more
    )


def test_tables_go_to_stdout_and_warnings_to_stderr(score, tmp_path):
    outcome = score()
    assert outcome.code == 0
    assert "sensitivity\t1.000\t1.000" in outcome.out
    assert "3 scans, 1 with nodules; 1 nodule;" in outcome.out
    assert "warning: 1 of 3 scans have no result" in outcome.err
    assert "warning" not in outcome.out
    assert (tmp_path / "out" / "evaluation.html").is_file()


def test_json_prints_the_metrics_and_nothing_else(score, tmp_path):
    outcome = score("--json", "--set", "threshold=0.2", "--set", "seed=7")
    found = json.loads(outcome.out)
    assert found == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["config"] == {"threshold": 0.2, "fp_per_scan": 1.0, "samples": 100, "seed": 7}


def test_a_dry_run_reads_everything_and_writes_nothing(score, tmp_path):
    outcome = score("--dry-run")
    assert "would score 2 marks against 1 nodules of 3 scans" in outcome.out
    assert not (tmp_path / "out").exists()


def test_bad_input_names_file_and_line_and_leaves_no_page(score, tmp_path):
    (tmp_path / "marks.csv").write_text("seriesuid,coordX,coordY,coordZ,probability\n1.1,0,0,0,x\n")
    outcome = score()
    assert outcome.code == 3
    assert "marks.csv: line 2: probability is not a finite number ('x')" in outcome.err
    assert not (tmp_path / "out").exists()


def test_an_earlier_evaluation_is_kept_unless_forced(score, tmp_path):
    (tmp_path / "out").mkdir()
    page = tmp_path / "out" / "evaluation.html"
    page.write_text("earlier")
    assert score().code == 2
    assert page.read_text() == "earlier"
    assert score("--force").code == 0
    assert page.read_text() != "earlier"


def test_nothing_of_an_earlier_evaluation_stands_beside_new_numbers(score, tmp_path):
    (tmp_path / "out").mkdir()
    old, foreign = tmp_path / "out" / "roc.png", tmp_path / "out" / "my.png"
    old.write_bytes(b"earlier")
    foreign.write_bytes(b"mine")
    marks = (tmp_path / "marks.csv").read_text().splitlines()[:2]
    (tmp_path / "marks.csv").write_text("\n".join(marks) + "\n")  # no false mark: no ROC
    assert score("--force").code == 0
    assert not old.exists()
    assert foreign.exists()


def test_an_evaluation_is_not_written_over_its_input(score, tmp_path):
    (tmp_path / "nodules.csv").rename(tmp_path / "truth.csv")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "nodules.csv").write_bytes((tmp_path / "truth.csv").read_bytes())
    outcome = score("--force", "--annotations", tmp_path / "out" / "nodules.csv")
    assert outcome.code == 2
    assert "out/nodules.csv: the results would overwrite their own input" in outcome.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["nodules.csv"]


def test_a_folder_that_cannot_be_made_fails_before_reading(score, tmp_path):
    (tmp_path / "out").write_text("a file")
    (tmp_path / "marks.csv").write_text("not a table")
    assert score().code == 2
    outcome = score("--out", tmp_path / "out" / "below")
    assert outcome.code == 4
    assert "cannot write here" in outcome.err


def test_an_evaluation_that_is_not_finished_has_no_page_of_an_earlier_one(
    score, tmp_path, monkeypatch
):
    score()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("luna.evaluate.submission.write_table", killed)
    assert score("--force").code == 130
    assert not (tmp_path / "out" / "evaluation.html").exists()


def test_a_table_whose_name_is_no_text(score, tmp_path):
    odd = tmp_path / os.fsdecode(b"odd\xff.csv")
    odd.write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.3,9,9,9,-1\n")
    assert score("--excluded", odd).code == 0
    assert "odd\\udcff.csv" in (tmp_path / "out" / "evaluation.html").read_text()

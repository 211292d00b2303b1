"""`luna evaluate` as a user calls it."""

import json

import pytest
import typer
from typer.testing import CliRunner

from luna.cli.evaluate import evaluate
from luna.run.errors import InputError


@pytest.fixture
def run(tmp_path):
    """Run the command on one hit and one false mark of two scans."""
    head = "seriesuid,coordX,coordY,coordZ,"
    (tmp_path / "marks.csv").write_text(head + "probability\n1.1,0,0,0,0.9\n1.2,5,5,5,0.3\n")
    (tmp_path / "nodules.csv").write_text(head + "diameter_mm\n1.1,1,0,0,8\n")
    (tmp_path / "series.csv").write_text("1.1\n1.2\n1.3\n")
    app = typer.Typer()
    app.command()(evaluate)
    given = ["--annotations", tmp_path / "nodules.csv", "--series", tmp_path / "series.csv"]
    given += ["--detections", tmp_path / "marks.csv", "--out", tmp_path / "out"]

    def run(*more):
        words = [str(word) for word in (*given, "--samples", 100, *more)]
        return CliRunner().invoke(app, words)

    return run


def test_tables_go_to_stdout_and_warnings_to_stderr(run):
    result = run()
    assert result.exit_code == 0
    assert "sensitivity\t1.000\t1.000" in result.stdout
    assert "3 scans, 1 with nodules; 1 nodule;" in result.stdout
    assert "warning: 1 of 3 scans have no result" in result.stderr
    assert "warning" not in result.stdout


def test_json_prints_the_metrics_and_nothing_else(run, tmp_path):
    result = run("--json")
    assert json.loads(result.stdout) == json.loads((tmp_path / "out/metrics.json").read_text())


def test_options_reach_the_config(run):
    result = run("--json", "--threshold", "0.2", "--fp-rate", "0.25", "--seed", "7")
    assert json.loads(result.stdout)["config"] == {
        "threshold": 0.2,
        "fp_per_scan": 0.25,
        "samples": 100,
        "seed": 7,
    }


def test_bad_input_is_the_users_error(run, tmp_path):
    (tmp_path / "nodules.csv").write_text("seriesuid,coordX\n")
    result = run()
    assert isinstance(result.exception, InputError)
    assert "nodules.csv" in str(result.exception)

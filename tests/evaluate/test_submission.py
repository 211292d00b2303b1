"""What an evaluation leaves in its folder."""

import base64
import csv
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from luna.evaluate.pages.footnote import footnote
from luna.evaluate.pages.page import metrics_text
from luna.evaluate.pages.tables import sections
from luna.evaluate.pages.worst import worst_cases
from luna.evaluate.submission import (
    Submission,
    read_tables,
    score_tables,
    write_evaluation,
)
from luna.run.errors import InputError, UsageError
from luna.score.evaluation import Evaluation, EvaluationConfig
from luna.score.froc import GRID_FP_PER_SCAN

CONFIG = EvaluationConfig(samples=100)

MARKS = """\
seriesuid,coordX,coordY,coordZ,probability,p_malignant
1.1,0,0,0,0.9,0.8
1.1,80,0,0,0.7,0.1
1.2,0,0,0,0.4,0.3
1.2,30,0,0,0.2,0.1
1.3,50,0,0,0.6,0.2
"""
NODULES = """\
seriesuid,coordX,coordY,coordZ,diameter_mm,kind,malignant
1.1,1,0,0,20,solid,True
1.2,0,1,0,5,part,False
1.2,90,0,0,7,<b>odd</b>,False
"""


def score_files(files: Submission, config: EvaluationConfig) -> Evaluation:
    return score_tables(read_tables(files), config)


def evaluate_detections(files: Submission, config: EvaluationConfig, out: Path) -> Evaluation:
    evaluation = score_files(files, config)
    out.mkdir(parents=True)
    write_evaluation(evaluation, out, files)
    return evaluation


def write_tables(tmp_path: Path) -> Submission:
    """Four scans in two subsets, three nodules, five marks of which one is on the excluded."""
    (tmp_path / "marks.csv").write_text(MARKS)
    (tmp_path / "nodules.csv").write_text(NODULES)
    (tmp_path / "excluded.csv").write_text(
        "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.1,80,1,0,-1\n"
    )
    (tmp_path / "series.csv").write_text("seriesuid,subset\n1.1,a\n1.2,a\n1.3,b\n1.4,b\n")
    return Submission(
        marks=(tmp_path / "marks.csv",),
        annotations=tmp_path / "nodules.csv",
        series=tmp_path / "series.csv",
        excluded=tmp_path / "excluded.csv",
    )


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "evaluation"


@pytest.fixture
def files(tmp_path):
    return write_tables(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of one evaluation, for the tests that only read it."""
    folder = tmp_path_factory.mktemp("evaluation")
    evaluate_detections(write_tables(folder), CONFIG, folder / "out")
    return folder / "out"


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Page(HTMLParser):
    """The sources of the images, the text, and everything that would be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])

    def handle_data(self, data):
        self.words.append(data)


def test_the_folder_holds_every_file(written):
    assert sorted(path.name for path in written.iterdir()) == [
        "calibration.png",
        "evaluation.html",
        "events",
        "froc.csv",
        "froc.png",
        "metrics.json",
        "nodules.csv",
        "precision_recall.png",
        "roc.png",
        "size_bands.png",
    ]


def test_metrics_hold_the_numbers(written):
    found = json.loads((written / "metrics.json").read_text())
    assert found["cohort"] == {
        "scans": 4,
        "scans_with_nodules": 2,
        "scans_without_result": 1,
        "nodules": 3,
        "folds": 1,
    }
    assert found["counts"] == {
        "candidates": 5,
        "nodules": 3,
        "true_positives": 2,
        "false_positives": 2,
        "false_negatives": 1,
        "ignored_on_excluded": 1,
        "ignored_double_detections": 0,
    }
    # By falling score: hit .9, false .6, hit .4, false .2, of 4 scans and 3 nodules.
    assert found["froc"]["sensitivity"] == pytest.approx([1 / 3, 2 / 3, *[2 / 3] * 5])
    assert found["confusion"]["counts"] == [[0, 1, 2, 0], [1, 1, 0, 0], [0, 0, 0, 1]]
    assert found["lost"] == {
        "found": 1,
        "below threshold": 1,
        "beyond rank": 0,
        "fragment": None,
        "off centre": 0,
        "no mark": 1,
        "merged": 0,
    }
    assert found["malignancy"]["diameter"]["auc"] == 1
    assert found["warnings"][0].startswith("1 of 4 scans have no result in the detections")
    roles = {source["role"]: source["name"] for source in found["inputs"]}
    assert roles["detections"] == "marks.csv"
    assert roles["excluded"] == "excluded.csv"


def test_froc_csv_holds_the_curve_and_its_interval(written):
    rows = read_rows(written / "froc.csv")
    at_one = next(row for row in rows if float(row["fp_per_scan"]) == 1)
    assert float(at_one["sensitivity"]) == pytest.approx(2 / 3)
    assert float(at_one["threshold"]) == 0.2
    assert float(at_one["bootstrap_low"]) <= float(at_one["bootstrap_high"])
    assert float(rows[0]["threshold"]) == 0.9
    assert len(rows) == len(GRID_FP_PER_SCAN)


def test_nodules_csv_tells_the_fate_of_each(written):
    rows = read_rows(written / "nodules.csv")
    assert [(row["outcome"], row["probability"], row["rank"]) for row in rows] == [
        ("found", "0.9", "1"),
        ("below threshold", "0.4", "1"),
        ("no mark", "", ""),
    ]


def test_tensorboard_reads_the_same_figures_and_plots(written):
    events = EventAccumulator(str(written / "events"))
    events.Reload()
    found = json.loads((written / "metrics.json").read_text())
    scalars = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert scalars["cpm"] == pytest.approx(found["froc"]["cpm"])
    rates = zip(found["froc"]["fp_per_scan"], found["froc"]["sensitivity"], strict=True)
    for rate, value in rates:
        assert scalars[f"sensitivity/at_{rate:g}_fp_per_scan"] == pytest.approx(value)
    assert scalars["marks/auc"] == pytest.approx(found["classifier"]["roc"]["auc"])
    assert len(events.Tags()["images"]) == 5
    (image,) = events.Images("froc")
    assert image.encoded_image_string == (written / "froc.png").read_bytes()
    with Image.open(BytesIO(image.encoded_image_string)) as picture:
        assert picture.size == (image.width, image.height)


def test_a_second_evaluation_replaces_the_events_of_the_first(files, tmp_path, out):
    evaluate_detections(files, CONFIG, out)
    write_evaluation(score_files(files, CONFIG), out, files)
    assert len(list((out / "events").iterdir())) == 1


def test_the_page_needs_no_other_file_and_escapes_what_files_say(written):
    text = (written / "evaluation.html").read_text()
    page = Page(text)
    assert not page.tags & {"script", "link", "iframe", "b"}
    assert "&lt;b&gt;odd&lt;/b&gt;" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert len(page.images) == 5
    for source in page.images:
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        with Image.open(BytesIO(data)) as image:
            pixels = np.asarray(image.convert("L"))
        assert pixels.shape[1] > 600
        assert pixels.std() > 10  # something is drawn


def test_every_table_says_on_what_it_rests(files):
    evaluation = score_files(files, CONFIG)
    tables = (*sections(evaluation), *worst_cases(evaluation))
    assert {"Sensitivity by kind", "Sensitivity by subset", "Sensitivity by size"} <= {
        table.title for table in tables
    }
    for table in tables:
        assert table.footnote.startswith("4 scans, 2 with nodules; 3 nodules; one file of marks.")
        assert "Rule: " in table.footnote
        assert "95 %, 100 bootstrap samples over scans, seed 0" in table.footnote
        assert all(len(row) == len(table.header) for row in table.rows)


def test_the_worst_cases_come_first(files):
    lost, false = worst_cases(score_files(files, CONFIG))
    assert lost.title == "The largest of 2 lost nodules"
    assert [row[2:] for row in lost.rows] == [
        ("7.0", "no mark", "–"),
        ("5.0", "below threshold", "0.4000"),
    ]
    assert [row[0] for row in false.rows] == ["1.3", "1.2"]


def test_folds_are_pooled_and_counted(files, tmp_path):
    first, second = tmp_path / "fold0.csv", tmp_path / "fold1.csv"
    lines = MARKS.splitlines(keepends=True)
    first.write_text("".join(lines[:3]))
    second.write_text("".join([lines[0], *lines[3:]]))
    pooled = Submission(
        marks=(first, second),
        annotations=files.annotations,
        series=files.series,
        excluded=files.excluded,
    )
    whole, parts = score_files(files, CONFIG), score_files(pooled, CONFIG)
    assert parts.folds == 2
    assert "2 folds pooled" in footnote(parts)
    assert parts.froc.cpm == whole.froc.cpm
    assert parts.matching.counts == whole.matching.counts


def test_versus_compares_and_draws_both(files, tmp_path, out):
    worse = tmp_path / "worse.csv"
    worse.write_text(MARKS.replace("1.1,0,0,0,0.9", "1.1,0,0,300,0.9"))
    files = Submission(
        marks=files.marks,
        annotations=files.annotations,
        series=files.series,
        excluded=files.excluded,
        versus=(worse,),
    )
    evaluation = evaluate_detections(files, CONFIG, out)
    assert evaluation.comparison.difference == pytest.approx(
        evaluation.froc.cpm - evaluation.versus.cpm
    )
    found = json.loads((out / "metrics.json").read_text())
    assert found["comparison"]["interval"]["low"] <= found["comparison"]["difference"]
    assert "Paired comparison" in (out / "evaluation.html").read_text()


@pytest.mark.parametrize("marks", ["", "1.1,0,0,0,0.9\n", "1.3,50,0,0,0.6\n"])
def test_no_marks_only_hits_or_only_false_marks_are_reported_too(files, out, marks):
    files.marks[0].write_text("seriesuid,coordX,coordY,coordZ,probability\n" + marks)
    evaluation = evaluate_detections(files, CONFIG, out)
    assert evaluation.classifier is None
    assert "no ROC, precision or calibration" in " ".join(evaluation.warnings)
    found = json.loads((out / "metrics.json").read_text())
    assert found["classifier"] is None
    assert (out / "froc.png").exists()
    assert not (out / "roc.png").exists()


def test_without_bootstrap_there_are_no_intervals(files, out):
    evaluate_detections(files, EvaluationConfig(samples=0), out)
    found = json.loads((out / "metrics.json").read_text())
    assert found["froc"]["bootstrap"] is None
    assert "No bootstrap intervals were asked for." in (out / "evaluation.html").read_text()


def test_the_same_files_give_the_same_bytes(files, tmp_path):
    evaluate_detections(files, CONFIG, tmp_path / "a")
    evaluate_detections(files, CONFIG, tmp_path / "b")
    for name in ("metrics.json", "froc.csv", "nodules.csv", "evaluation.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_metrics_are_strict_json(files):
    with pytest.raises(ValueError, match="JSON compliant"):
        metrics_text({"bad": float("nan")})


def test_a_cohort_without_nodules_has_no_sensitivity(files):
    files.series.write_text("1.3\n")
    files.marks[0].write_text("seriesuid,coordX,coordY,coordZ,probability\n")
    with pytest.raises(InputError, match="none of the 1 scans has an annotated nodule"):
        score_files(files, CONFIG)


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"fp_per_scan": 0},
        {"fp_per_scan": float("inf")},
        {"samples": 5},
        {"samples": -1},
        {"seed": -1},
    ],
)
def test_config_out_of_range_is_refused(values):
    with pytest.raises(UsageError):
        EvaluationConfig(**values)

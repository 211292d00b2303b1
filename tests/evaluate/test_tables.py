"""The words of an evaluation's tables are its numbers."""

import numpy as np
import pytest

from luna.evaluate.pages.footnote import counted, footnote, interval_words
from luna.evaluate.pages.tables import failed_scans, sections, signed_span, span
from luna.evaluate.pages.worst import LONGEST_LIST, false_marks, lost_nodules, worst_cases
from luna.run.nodules import NO_NODULES, UNKNOWN, Nodules
from luna.score.evaluation import EvaluationConfig, score_detections
from luna.score.marks import Cohort, Marks
from luna.score.ranking import Interval

SCANS, PER_SCAN = 12, 3


def evaluation(config=None):
    """Twelve scans of three nodules, 4, 7 and 20 mm; the k-th scan's first k % 4 are marked."""
    rng = np.random.default_rng(3)
    uids = tuple(f"1.2.{k}" for k in range(SCANS))
    series = np.repeat(np.arange(SCANS), PER_SCAN).astype(np.intp)
    center_xyz = rng.uniform(-100, 100, (len(series), 3)) + 300 * np.arange(len(series))[:, None]
    nodules = Nodules(
        series=series,
        center_xyz=center_xyz,
        diameter_mm=np.tile([4.0, 7.0, 20.0], SCANS),
        line=np.arange(len(series)) + 2,
        malignant=np.full(len(series), UNKNOWN, dtype=np.int8),
    )
    hit = np.tile(np.arange(PER_SCAN), SCANS) < series % 4
    false = np.column_stack([np.arange(SCANS) * 1e4 + 9e5] * 3)
    marks = Marks(
        series=np.concatenate([series[hit], np.arange(SCANS)]).astype(np.intp),
        center_xyz=np.concatenate([center_xyz[hit], false]),
        p_nodule=np.concatenate([np.linspace(0.4, 0.9, hit.sum()), np.linspace(0.1, 0.6, SCANS)]),
    )
    config = config or EvaluationConfig(samples=100)
    return score_detections(
        Cohort(series_uids=uids), marks, nodules, NO_NODULES, config=config
    ), hit


@pytest.fixture(scope="module")
def scored():
    return evaluation()


def table(found, title):
    (section,) = [each for each in sections(found) if each.title.startswith(title)]
    return section


def test_every_row_has_a_cell_for_every_column(scored):
    shown = sections(scored[0])
    assert len(shown) >= 6
    for section in shown:
        assert {len(row) for row in section.rows} == {len(section.header)}, section.title
        assert len(section.left) == len(section.header)
        assert section.left[0]
        assert section.footnote


def test_the_curve_is_printed_with_its_interval(scored):
    found, _ = scored
    section = table(found, "FROC")
    name, *cells = section.rows[0]
    assert name == "sensitivity"
    assert cells == [f"{v:.3f}" for v in [*found.froc.at_rates, found.froc.cpm]]
    low, high = ([float(cell) for cell in row[1:]] for row in section.rows[1:3])
    assert all(a <= b for a, b in zip(low, high, strict=True))


def test_counts_add_up(scored):
    found, hit = scored
    rows = {name: int(count.replace(",", "")) for name, count in table(found, "Counts").rows}
    assert rows["nodules found (true positives)"] == hit.sum()
    assert rows["nodules not found (false negatives)"] == (~hit).sum()
    assert rows["false marks (false positives)"] == SCANS
    assert rows["marks counted, after the limit per scan"] == hit.sum() + SCANS


def test_outcomes_are_shares_of_all_nodules(scored):
    rows = table(scored[0], "Where nodules are lost").rows
    counts = {row[0]: int(row[1]) for row in rows if row[0] != "(merged)"}
    assert sum(counts.values()) == SCANS * PER_SCAN
    for row in rows:
        assert row[2] == f"{int(row[1]) / (SCANS * PER_SCAN):.1%}"


def test_bands_of_size_hold_every_nodule_once(scored):
    rows = table(scored[0], "Sensitivity by size").rows
    assert sum(int(row[2]) for row in rows) == SCANS * PER_SCAN
    assert all(int(row[2]) == SCANS for row in rows)


def test_a_table_without_data_is_left_out(scored):
    found, _ = scored
    titles = [section.title for section in sections(found)]
    assert not any(
        title.startswith(("Malignancy", "Paired", "Sensitivity by kind")) for title in titles
    )


def test_without_bootstrap_no_interval_is_printed():
    found, _ = evaluation(EvaluationConfig(samples=0))
    assert len(table(found, "FROC").rows) == 1
    assert {row[-1] for row in table(found, "Sensitivity by size").rows} == {"–"}
    assert interval_words(found.config) == "No bootstrap intervals were asked for."


def test_the_worst_come_first_and_no_more_than_fit(scored):
    found, hit = scored
    sizes = found.matching.nodules.diameter_mm[lost_nodules(found)]
    assert (np.diff(sizes) <= 0).all()
    # What is marked below the threshold is lost too.
    below = hit.copy()
    below[hit] = np.linspace(0.4, 0.9, hit.sum()) < found.config.threshold
    assert len(sizes) == (~hit).sum() + below.sum()
    p = found.matching.marks.p_nodule[false_marks(found)]
    assert (np.diff(p) <= 0).all()
    assert len(p) == SCANS
    misses, false = worst_cases(found)
    assert len(misses.rows) == len(false.rows) == LONGEST_LIST
    assert misses.title == f"The largest of {len(sizes)} lost nodules"
    assert false.rows[0][-1] == "0.6000"
    assert misses.rows[0][2] == "20.0"


def test_scans_without_a_result_are_listed_with_the_reason():
    (section,) = failed_scans({"1.2": "cut off"}, "They are left out.")
    assert (section.rows, section.footnote) == ((("1.2", "cut off"),), "They are left out.")
    assert failed_scans({}, "nothing") == ()


def test_the_note_counts_scans_and_nodules(scored):
    note = footnote(scored[0])
    assert note.startswith("12 scans, 12 with nodules; 36 nodules; one file of marks. Rule: ")
    assert note.endswith("100 bootstrap samples over scans, seed 0.")


def test_numbers_in_words():
    assert (counted(1, "scan"), counted(0, "scan"), counted(1200, "scan")) == (
        "1 scan", "0 scans", "1,200 scans",
    )  # fmt: skip
    assert span(Interval(0.25, 0.5)) == "0.250–0.500"
    assert span(None) == "–"
    assert signed_span(Interval(-0.25, 0.5)) == "-0.250 to +0.500"

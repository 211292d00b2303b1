"""Tables that are good, and the line that is named in those that are not."""

import numpy as np
import pytest

from luna.run.errors import InputError
from luna.score.marks import (
    pool_marks,
    read_cohort,
    read_excluded,
    read_marks,
    read_nodules,
)

MARKS = "seriesuid,coordX,coordY,coordZ,probability\n"
NODULES = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def cohort(write):
    return read_cohort(write("1.1\n1.2\n1.3\n", "seriesuids.csv"))


def test_series_with_and_without_header(write, cohort):
    assert cohort.series_uids == ("1.1", "1.2", "1.3")
    named = read_cohort(write("seriesuid,subset\n1.1,subset0\n1.2,subset1\n"))
    assert (named.series_uids, named.subset) == (("1.1", "1.2"), ("subset0", "subset1"))


def test_marks_in_any_column_order_with_bom_crlf_and_blank_lines(write, cohort):
    text = (
        "\ufeffprobability,coordZ,coordY,coordX,seriesuid\r\n0.5,3,2,1,1.2\r\n\r\n1,6,5,4, 1.1\r\n"
    )
    marks = read_marks(write(text), cohort)
    assert marks.series.tolist() == [1, 0]
    assert marks.center_xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert marks.p_nodule.tolist() == [0.5, 1]
    assert marks.p_malignant is None


def test_no_marks_at_all_is_a_result(write, cohort):
    marks = read_marks(write(MARKS), cohort)
    assert marks.center_xyz.shape == (0, 3)


def test_marks_may_say_malignancy(write, cohort):
    text = MARKS.strip() + ",p_malignant\n1.1,1,2,3,0.5,0.25\n"
    assert read_marks(write(text), cohort).p_malignant.tolist() == [0.25]


@pytest.mark.parametrize("column", ["malignant", "mal_bool"])
def test_nodules_with_kind_and_malignancy(write, cohort, column):
    text = NODULES.strip() + f",kind,{column}\n1.2,1,2,3,5,solid,True\n9.9,1,2,3,5,part,False\n"
    nodules = read_nodules(write(text), cohort)
    assert (nodules.kind, nodules.malignant.tolist(), nodules.elsewhere) == (("solid",), [1], 1)


def test_excluded_findings_may_repeat_and_lack_a_size(write, cohort):
    row = "1.2,1,2,3,-1\n"
    assert read_excluded(write(NODULES + row + row), cohort).diameter_mm.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1.1,1,2,3,0.5\n1.1,1,nan,3,0.5\n", "line 3: coordY is not a finite number ('nan')"),
        ("1.1,1,2,inf,0.5\n", "line 2: coordZ is not a finite number"),
        ("1.1,1,2,1e308,0.5\n", "line 2: coordZ is beyond any scan ('1e308')"),
        ("1.1,1,2_0,3,0.5\n", "line 2: coordY is not a finite number ('2_0')"),
        ("\x1b[31m,1,2,3,0.5\n", "line 2: seriesuid holds a control character ('\\x1b[31m')"),
        ("1.1,1,two,3,0.5\n", "line 2: coordY is not a finite number ('two')"),
        ("1.1,,2,3,0.5\n", "line 2: coordX is not a finite number"),
        ("1.1,1,2,3,\n1.1,1,2,4,x\n", "line 2: probability is not a finite number ('', and 1 more"),
        ("1.1,1,2,3,0.5\n\n1.1,1,2,4,1.5\n", "line 4: probability is outside 0..1 ('1.5')"),
        ("1.1,1,2,3,-0.1\n", "line 2: probability is outside 0..1"),
        ("1.1,1,2,3\n", "line 2: 4 cells where the header has 5"),
        ("1.1,1,2,3,0.5,9\n", "line 2: 6 cells where the header has 5"),
        ("7.7,1,2,3,0.5\n", "line 2: the scan is not in the list of series ('7.7')"),
        ("1.1,1,2,3,0.5\n1.1,1.0,2,3,0.6\n", "line 3: the mark is listed twice (line 2)"),
        ('1.1,1,2,3,"0.5\n', "line 2: not a CSV row"),
    ],
)
def test_bad_marks_are_named_by_file_and_line(write, cohort, rows, message):
    path = write(MARKS + rows)
    with pytest.raises(InputError) as caught:
        read_marks(path, cohort)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column seriesuid, coordX"),
        ("seriesuid,coordX,coordY,probability\n", "line 1: no column coordZ"),
        (MARKS.strip() + ",coordX\n", "line 1: the column coordX is named twice"),
        (b"\xff\xfe\x00", "is not a text file in UTF-8"),
    ],
)
def test_bad_headers_are_named(write, cohort, text, message):
    with pytest.raises(InputError, match=message):
        read_marks(write(text), cohort)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NODULES + "1.1,1,2,3,0\n", "line 2: diameter_mm is not positive"),
        (NODULES + "1.1,1,2,3,-1\n", "line 2: diameter_mm is not positive"),
        (NODULES + "1.1,1,2,3,5\n1.1,1,2,3,6\n", "line 3: the nodule is listed twice"),
        (
            NODULES.strip() + ",malignant\n1.1,1,2,3,5,maybe\n",
            "line 2: malignant is neither true nor false",
        ),
    ],
)
def test_bad_nodules_are_named(write, cohort, text, message):
    with pytest.raises(InputError, match=message):
        read_nodules(write(text), cohort)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list of scans is empty"),
        ("seriesuid\n", "the list of scans is empty"),
        ("1.1\n1.2\n1.1\n", "line 3: the scan is listed twice"),
        ("1.1,x\n", "line 1: 2 cells where the header has 1"),
    ],
)
def test_bad_lists_of_scans_are_named(write, text, message):
    with pytest.raises(InputError, match=message):
        read_cohort(write(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: cannot be read"):
        read_cohort(tmp_path / "gone.csv")


def test_folds_are_pooled_into_one_submission(write, cohort):
    files = [write(MARKS + "1.2,1,2,3,0.5\n", "a.csv"), write(MARKS + "1.1,4,5,6,0.7\n", "b.csv")]
    pooled = pool_marks([read_marks(path, cohort) for path in files], files, cohort)
    assert pooled.series.tolist() == [1, 0]
    np.testing.assert_array_equal(pooled.p_nodule, [0.5, 0.7])


def test_a_scan_in_two_folds_is_refused(write, cohort):
    files = [write(MARKS + "1.2,1,2,3,0.5\n", "a.csv"), write(MARKS + "1.2,4,5,6,0.7\n", "b.csv")]
    with pytest.raises(InputError, match=r"b\.csv: the scan 1\.2 has marks in two files"):
        pool_marks([read_marks(path, cohort) for path in files], files, cohort)

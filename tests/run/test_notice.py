"""Skipped rows are counted, and their first lines named."""

from pathlib import Path

import numpy as np
import pytest

from luna.run.notice import LINES_SHOWN, name_lines, notice


def test_no_skipped_row_no_notice() -> None:
    assert notice("rows", Path("a.csv"), np.array([], dtype=np.int64)) == ()


def test_lines_are_named_in_order_and_the_rest_is_counted() -> None:
    (found,) = notice("scans twice", Path("folder/a.csv"), np.array([40, 3, 12, 7, 99, 5]))
    assert str(found) == "a.csv: 6 scans twice (lines 3, 5, 7, 12, 40, …)"
    assert found.count == 6
    assert len(found.lines) == LINES_SHOWN


@pytest.mark.parametrize(
    ("lines", "count", "words"),
    [
        ([4], 1, "line 4"),
        ([4, 9], 2, "lines 4 and 9"),
        ([4, 9, 10], 3, "lines 4, 9 and 10"),
        ([1, 2, 3, 4, 5], 5, "lines 1, 2, 3, 4 and 5"),
        ([1, 2, 3, 4, 5], 6, "lines 1, 2, 3, 4, 5, …"),
        ([4], 3, "lines 4, …"),
    ],
)
def test_lines_in_words(lines: list[int], count: int, words: str) -> None:
    assert name_lines(lines, count) == words

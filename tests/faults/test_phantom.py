"""`luna phantom`, stopped."""

from pathlib import Path

from .conftest import Outcome, Strike, assert_refused, by_signal
from .test_prep import assert_nobody_is_left_in

SMALL = ("--set", "size=64", "--set", "slab_mm=30", "--set", "terminals_per_ml=[0.1, 0.1]")


@by_signal
def test_a_stopped_cohort_has_no_tables_and_takes_its_workers_along(
    run_luna, tmp_path: Path, number: int, code: int, word: str
) -> None:
    out = tmp_path / "cohort"
    command = ("phantom", out, "--scans", 20, "--workers", 2, *SMALL)
    outcome: Outcome = run_luna(*command, strike=Strike(number, out / "*/*.mhd", 1, "files"))
    assert_refused(outcome, code, word)
    assert not list(out.glob("*.csv"))
    assert_nobody_is_left_in(tmp_path)
    assert not list(out.rglob(".tmp*"))

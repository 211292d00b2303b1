"""Which folders an evaluation may go on in."""

from luna.evaluate.folder import EVERYTHING, RECORD, clear, was_begun
from luna.run.record import record_run, write_record


def test_an_empty_folder_or_none_may_be_used(tmp_path):
    assert was_begun(tmp_path, tmp_path / "scans")
    assert was_begun(tmp_path / "missing", tmp_path / "missing" / "scans")


def test_an_evaluation_is_known_by_its_record(tmp_path):
    (tmp_path / "scans").mkdir()
    assert not was_begun(tmp_path, tmp_path / "scans")
    (tmp_path / RECORD).write_text("{}")
    assert not was_begun(tmp_path, tmp_path / "scans")
    write_record(record_run(["luna"], "", "cpu"), tmp_path / RECORD)
    assert was_begun(tmp_path, tmp_path / "scans")


def test_a_record_beside_other_files_begins_nothing(tmp_path):
    write_record(record_run(["luna"], "", "cpu"), tmp_path / RECORD)
    assert was_begun(tmp_path, tmp_path / "scans")
    (tmp_path / "mine.txt").write_text("mine")
    assert not was_begun(tmp_path, tmp_path / "scans")


def test_only_files_of_an_evaluation_are_cleared(tmp_path):
    (tmp_path / "events").mkdir()
    for name in (*EVERYTHING, "mine.csv", ".tmp-1-x"):
        (tmp_path / name).write_text("x")
    clear(tmp_path, EVERYTHING)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.csv"]

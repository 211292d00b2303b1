"""A cohort is prepared once: what is kept, what is made anew, and what is told."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from luna.ct.cache import Cache
from luna.data.luna16.folder import read_luna16
from luna.data.prep import config as config_module
from luna.data.prep import plan as plan_module
from luna.data.prep.cohort import prep
from luna.data.prep.config import PrepConfig
from luna.data.prep.job import jobs
from luna.data.prep.manifest import MANIFEST
from luna.data.prep.plan import default_workers, plan
from luna.data.prepared import open_prepared
from luna.run.errors import EnvironmentFault, UsageError
from luna.run.progress import Listener

SCANS, CANDIDATES = 4, 13
FIRST = "1.2.3.0"


def header(cohort: Path, uid: str = FIRST) -> Path:
    (path,) = cohort.glob(f"subset*/{uid}.mhd")
    return path


def voxels(cohort: Path, uid: str = FIRST) -> Path:
    return header(cohort, uid).with_suffix(".raw")


def later(path: Path) -> None:
    """Give a file another time, as a copy that takes its place would have."""
    then = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(then, then))


def test_a_second_run_keeps_everything(prepare, cache, contents_of):
    before = contents_of(cache)
    report, told = prepare()
    assert (report.scans, report.kept, report.candidates) == (SCANS, SCANS, SCANS * CANDIDATES)
    assert (report.failed, report.notices, told) == ({}, (), [])
    assert contents_of(cache) == before
    assert before["manifest"]["fingerprint"] == report.fingerprint
    assert report.stored_bytes == sum(
        len(value) for key, value in before.items() if key.startswith(("hu", "mask"))
    )


def test_two_workers_make_the_same(prepare, cache, tmp_path, contents_of):
    report, _ = prepare(tmp_path / "other", workers=2)
    assert report.kept == 0
    assert contents_of(tmp_path / "other") == contents_of(cache)


def test_where_the_cohort_lies_does_not_matter(prepare, cohort, cache, contents_of, tmp_path):
    before = contents_of(cache)
    cohort.rename(tmp_path / "elsewhere")
    report = prep(read_luna16(tmp_path / "elsewhere"), cache, PrepConfig(), 1)
    assert report.kept == SCANS
    assert contents_of(cache) == before


def replaced_voxels(cohort: Path) -> None:
    data = np.fromfile(voxels(cohort), dtype=np.int16)
    data[data.size // 2] += 1
    data.tofile(voxels(cohort))
    later(voxels(cohort))


def replaced_header(cohort: Path) -> None:
    text = header(cohort).read_text()
    assert "ElementSpacing = 2.5 " in text
    header(cohort).write_text(text.replace("ElementSpacing = 2.5 ", "ElementSpacing = 2.6 "))
    later(header(cohort))


def voxels_of_another_name(cohort: Path) -> None:
    text = header(cohort).read_text()
    new = voxels(cohort).with_name("other name.raw")
    voxels(cohort).rename(new)
    header(cohort).write_text(text.replace(f"{FIRST}.raw", new.name))


@pytest.mark.parametrize("replace", [replaced_voxels, replaced_header])
def test_a_scan_replaced_under_its_name_is_prepared_anew(
    prepare, cohort, cache, replace, contents_of, tmp_path
):
    before = open_prepared(cache)
    replace(cohort)
    report, told = prepare()
    assert (report.kept, told) == (SCANS - 1, [])
    assert report.fingerprint != before.fingerprint
    fresh, _ = prepare(tmp_path / "fresh")
    assert fresh.fingerprint == report.fingerprint
    assert contents_of(tmp_path / "fresh") == contents_of(cache)


def test_voxels_of_any_name_are_watched(prepare, cohort, cache):
    voxels_of_another_name(cohort)
    first, _ = prepare()
    data = np.fromfile(cohort / "subset0" / "other name.raw", dtype=np.int16)
    data[-1] += 1
    data.tofile(cohort / "subset0" / "other name.raw")
    later(cohort / "subset0" / "other name.raw")
    second, _ = prepare()
    assert second.kept == SCANS - 1
    assert second.fingerprint != first.fingerprint


def test_a_file_that_was_only_touched_is_read_but_stored_once(prepare, cohort, cache):
    before = open_prepared(cache).fingerprint
    files = set(cache.glob("??/??/*.val"))
    later(voxels(cohort))
    report, _ = prepare()
    assert report.kept == SCANS - 1
    assert report.fingerprint == before
    assert len(set(cache.glob("??/??/*.val")) - files) == 1  # its record


@pytest.mark.parametrize(
    "config",
    [{"nodule_mask": "book"}, {"slices": "all"}, {"spacing_mm": 3.0}],
    ids=lambda c: next(iter(c)),
)
def test_another_config_is_another_cache(prepare, cache, config):
    before = open_prepared(cache)
    report, _ = prepare(**config)
    assert (report.kept, report.scans) == (0, SCANS)
    assert report.fingerprint != before.fingerprint
    after = open_prepared(cache)
    assert after.config == PrepConfig(**config)
    again, _ = prepare()
    assert again.kept == SCANS
    assert again.fingerprint == before.fingerprint


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *change(rows)]) + "\n")


def test_rows_of_a_table_count_and_its_lines_do_not(prepare, cohort, cache):
    before = open_prepared(cache).fingerprint
    edit(cohort / "candidates_V2.csv", lambda rows: ["", *rows])
    report, _ = prepare()
    assert (report.kept, report.fingerprint) == (SCANS, before)
    edit(cohort / "candidates_V2.csv", lambda rows: rows[2:])
    report, _ = prepare()
    assert (report.kept, report.candidates) == (SCANS - 1, SCANS * CANDIDATES - 1)
    assert report.fingerprint != before


def test_places_off_their_volume_are_left_out_and_told(prepare, cohort, cache):
    before = open_prepared(cache)
    edit(cohort / "annotations.csv", lambda rows: [*rows, f"{FIRST},5000,0,0,8"])
    edit(
        cohort / "candidates_V2.csv",
        lambda rows: [*rows, f"{FIRST},5001,0,0,1", f"{FIRST},6000,0,0,0"],
    )
    report, _ = prepare()
    assert [str(n) for n in report.notices] == [
        "annotations.csv: 1 annotations outside their volume (line 18)",
        "candidates_V2.csv: 2 candidates outside their volume, or belonging to such a nodule "
        "(lines 54 and 55)",
    ]
    again, _ = prepare()
    assert (again.kept, again.notices) == (SCANS, report.notices)
    after = open_prepared(cache)
    # What no sample depends on is not part of the fingerprint.
    assert after.fingerprint == before.fingerprint
    assert np.array_equal(after.candidates.center_irc, before.candidates.center_irc)
    assert np.array_equal(after.candidates.nodule, before.candidates.nodule)


def test_a_nodule_off_its_volume_does_not_shift_the_others(prepare, cohort, cache):
    before = open_prepared(cache)
    edit(cohort / "annotations.csv", lambda rows: [f"{FIRST},5000,0,0,8", *rows])
    prepare()
    after = open_prepared(cache)
    assert np.array_equal(after.candidates.nodule, before.candidates.nodule)
    assert np.array_equal(after.nodule_slices.nodule, before.nodule_slices.nodule)


def without_voxels(cohort: Path) -> None:
    voxels(cohort).unlink()


def cut_voxels(cohort: Path) -> None:
    os.truncate(voxels(cohort), 1000)


def a_folder(cohort: Path) -> None:
    header(cohort).unlink()
    header_path = cohort / "subset0" / f"{FIRST}.mhd"
    header_path.mkdir()


def a_pipe(cohort: Path) -> None:
    path = header(cohort)
    path.unlink()
    os.mkfifo(path)


def a_page(cohort: Path) -> None:
    header(cohort).write_text("<html>404</html>")


@pytest.mark.parametrize("spoil", [without_voxels, cut_voxels, a_folder, a_pipe, a_page])
def test_a_bad_scan_stops_no_other(prepare, cohort, tmp_path, spoil):
    spoil(cohort)
    cache = tmp_path / "fresh"
    report, _ = prepare(cache)
    assert (report.scans, report.candidates) == (SCANS - 1, (SCANS - 1) * CANDIDATES)
    assert list(report.failed) == [FIRST]
    assert FIRST in report.failed[FIRST]
    prepared = open_prepared(cache)
    assert FIRST not in prepared.series
    assert FIRST in prepared.all_series
    assert prepared.failed == report.failed


def test_a_mended_scan_is_added(prepare, cohort, cache, contents_of, tmp_path):
    good = voxels(cohort).read_bytes()
    before = contents_of(cache)
    stat = voxels(cohort).stat()
    voxels(cohort).write_bytes(good[:-2])
    report, _ = prepare()
    assert list(report.failed) == [FIRST]
    voxels(cohort).write_bytes(good)
    os.utime(voxels(cohort), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    report, _ = prepare()
    assert (report.failed, report.kept) == ({}, SCANS)
    assert contents_of(cache) == before


def entries(cache: Path, kind: str) -> list[Path]:
    with sqlite3.connect(cache / "cache.db") as connection:
        rows = connection.execute(
            "SELECT filename FROM Cache WHERE key LIKE ? ORDER BY key", (f"{kind}:%",)
        ).fetchall()
    connection.close()
    return [cache / name for (name,) in rows]


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("kind", ["record", "hu", "mask"])
@pytest.mark.parametrize("spoil", [flipped, truncated, emptied, Path.unlink])
def test_a_damaged_entry_is_said_and_made_anew(prepare, cache, contents_of, kind, spoil):
    before = contents_of(cache)
    spoil(entries(cache, kind)[1])
    report, told = prepare()
    assert report.kept == SCANS - 1
    if (kind, spoil) == ("record", Path.unlink):
        assert told == []  # nothing is left that could be damaged
    else:
        (sentence,) = told
        assert " was damaged (" in sentence
        assert "made again" in sentence
    assert contents_of(cache) == before
    assert prepare()[0].kept == SCANS


def test_entries_of_another_version_are_made_anew(prepare, cache, monkeypatch):
    before = open_prepared(cache).fingerprint
    monkeypatch.setattr(config_module, "FORMAT", config_module.FORMAT + 1)
    report, told = prepare()
    assert (report.kept, told) == (0, [])
    monkeypatch.undo()
    again, _ = prepare()
    assert (again.kept, again.fingerprint) == (SCANS, before)


def test_a_plan_counts_and_writes_nothing(cohort, cache, tmp_path):
    data = read_luna16(cohort)
    fresh = plan(data, tmp_path / "a" / "b", PrepConfig())
    assert (fresh.scans, fresh.done, fresh.candidates) == (SCANS, 0, SCANS * CANDIDATES)
    assert not (tmp_path / "a").exists()
    stored = sum(path.stat().st_size for path in cache.glob("??/??/*.val"))
    assert 0.5 * stored < fresh.needed_bytes < 4 * stored
    assert fresh.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
    done = plan(data, cache, PrepConfig())
    assert (done.done, done.needed_bytes) == (SCANS, 0)
    whole = plan(data, cache, PrepConfig(slices="all"))
    assert whole.done == 0
    assert whole.needed_bytes >= fresh.needed_bytes


def test_a_bad_scan_needs_nothing_in_a_plan(cohort, tmp_path):
    before = plan(read_luna16(cohort), tmp_path / "c", PrepConfig())
    a_page(cohort)
    after = plan(read_luna16(cohort), tmp_path / "c", PrepConfig())
    assert 0 < after.needed_bytes < before.needed_bytes


def test_a_small_disk_is_refused_before_anything_is_written(prepare, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(plan_module, "disk_usage", lambda path: usage)
    with pytest.raises(EnvironmentFault, match="the disk is too small"):
        prepare(tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()
    report, _ = prepare()  # what is there already needs no room
    assert report.kept == SCANS


def test_no_worker_is_a_mistake(prepare):
    with pytest.raises(UsageError, match="at least 1"):
        prepare(workers=0)


def test_there_is_at_least_one_worker_and_no_more_than_cores():
    assert 1 <= default_workers() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("limit", "workers"), [(str(1 << 30), 1), ("max", None), ("", None)])
def test_workers_fit_the_memory_of_a_container(tmp_path, monkeypatch, limit, workers):
    usual = default_workers()
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr("luna.run.machine.limits.CONTAINER_LIMIT", tmp_path / "memory.max")
    assert default_workers() == (workers or usual)


def test_what_decides_the_split_is_in_the_fingerprint(prepare, cohort, cache):
    before, _ = prepare()
    uids = sorted(read_luna16(cohort).files)
    rows = "".join(f"{uid},one\n" for uid in uids[:2])
    (cohort / "patients.csv").write_text(f"seriesuid,patient\n{rows}")
    after, _ = prepare()
    assert after.fingerprint != before.fingerprint


def test_progress_counts_scans_and_failures_are_warned_of(cohort, tmp_path):
    a_page(cohort)
    steps, warnings = [], []
    listener = Listener(progress=lambda *step: steps.append(step), warn=warnings.append)
    prep(read_luna16(cohort), tmp_path / "c", PrepConfig(), 1, listener)
    assert [step[:3] for step in steps] == [("prep", n, SCANS) for n in range(SCANS + 1)]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"no result for {FIRST}: {FIRST}.mhd: ")
    steps.clear()
    prep(read_luna16(cohort), tmp_path / "c", PrepConfig(), 1, listener)
    assert ["kept" in step[3] for step in steps[1:]] == [False, True, True, True]


def test_jobs_count_nodules_within_their_scan(cohort):
    data = read_luna16(cohort)
    for job in jobs(data):
        positive = job.candidate_nodule >= 0
        assert positive.sum() == 4
        apart = job.candidate_xyz[positive] - job.nodule_xyz[job.candidate_nodule[positive]]
        assert np.abs(apart).max() < 1e-9


def test_the_manifest_is_plain_json_without_paths(cohort, cache):
    text = (cache / MANIFEST).read_text()
    assert str(cohort.parent) not in text
    manifest = json.loads(text)
    assert manifest["fold_of"] == {f"1.2.3.{k}": k for k in range(SCANS)}
    assert manifest["versions"]["luna"]
    store = Cache(cache)
    assert all(store.get(key) for key in manifest["records"].values())

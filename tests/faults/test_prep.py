"""`luna prep`: killed, stopped, spoilt, starved or run twice; in the end the cache is the same."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luna.ct.frames import frame_arrays

from .conftest import Outcome, Strike, assert_refused, by_signal
from .test_machine import mount, small_disk  # noqa: F401 - a fixture
from .test_weights import Planted

Prepare = Callable[..., Outcome]
Contents = Callable[[Path], dict[str, Any]]

SCANS = 4
VALUES = "??/??/*.val"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where the small cohort is prepared."""
    return tmp_path / "cache"


@pytest.fixture
def prepare(run_luna: Callable[..., Outcome], small_cohort: Path, cache: Path) -> Prepare:
    """`luna prep` of the small cohort or another."""

    def call(
        *more: object, data: Path = small_cohort, into: Path = cache, workers: int = 1, **how: Any
    ) -> Outcome:
        return run_luna("prep", data, "--cache", into, "--workers", workers, *more, **how)

    return call


@pytest.fixture
def prepared(small_cache: Path, cache: Path) -> Path:
    """A good cache, to be spoilt."""
    return Path(shutil.copytree(small_cache, cache))


@pytest.fixture
def cohort(small_cohort: Path, tmp_path: Path) -> Path:
    """The small cohort, to be spoilt."""
    return Path(shutil.copytree(small_cohort, tmp_path / "cohort"))


@pytest.fixture
def assert_whole(cache: Path, small_cache: Path, contents_of: Contents) -> Callable[[], None]:
    """The cache holds what an undisturbed run stores, and no half-written file."""

    def check() -> None:
        assert contents_of(cache) == contents_of(small_cache)
        assert not list(cache.rglob(".tmp*"))

    return check


# Shares of all the bytes that are stored.
RANDOM = np.random.default_rng(6).uniform(0, 0.95, 10).round(3).tolist()


@pytest.mark.parametrize(
    ("share", "workers"),
    [(share, 1) for share in RANDOM[:3]]
    + [
        pytest.param(share, 1 + k % 2, marks=pytest.mark.slow) for k, share in enumerate(RANDOM[3:])
    ],
)
def test_a_killed_run_goes_on_to_the_same_cache(
    prepare: Prepare,
    cache: Path,
    small_cache: Path,
    assert_whole: Callable[[], None],
    share: float,
    workers: int,
) -> None:
    stored = sum(path.stat().st_size for path in small_cache.glob(VALUES))
    at = Strike(signal.SIGKILL, cache / VALUES, max(1, int(share * stored)), "bytes")
    assert prepare(strike=at, workers=workers).code == -signal.SIGKILL
    assert not (cache / "prepared.json").exists()
    outcome = prepare()
    assert outcome.code == 0, outcome.err
    assert_whole()


@by_signal
def test_a_stopped_run_says_so_takes_its_workers_along_and_goes_on(
    prepare: Prepare,
    cache: Path,
    tmp_path: Path,
    assert_whole: Callable[[], None],
    number: int,
    code: int,
    word: str,
) -> None:
    outcome = prepare(strike=Strike(number, cache / VALUES, 1, "files"), workers=2)
    assert_refused(outcome, code, word)
    assert not (cache / "prepared.json").exists()
    assert_nobody_is_left_in(tmp_path)
    assert prepare().code == 0
    assert_whole()


def assert_nobody_is_left_in(folder: Path) -> None:
    """Every process that worked in a folder ends soon."""
    end = time.monotonic() + 20
    while left := [p for p in Path("/proc").glob("[0-9]*") if works_in(p, folder)]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


def works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False


def test_a_worker_that_is_killed(
    prepare: Prepare, cache: Path, tmp_path: Path, assert_whole: Callable[[], None]
) -> None:
    at = Strike(signal.SIGKILL, cache / VALUES, 1, "files", worker=True)
    outcome = prepare(strike=at, workers=2)
    assert_refused(outcome, 4, "a worker process was killed", "fewer --workers")
    assert_nobody_is_left_in(tmp_path)
    assert prepare().code == 0
    assert_whole()


def luna(*arguments: object) -> subprocess.Popen[str]:
    """The command by itself, for two at once."""
    return subprocess.Popen(
        [sys.executable, "-m", "luna", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_make_the_same_cache(
    small_cohort: Path, cache: Path, assert_whole: Callable[[], None]
) -> None:
    asked = ("prep", small_cohort, "--cache", cache, "--workers", "1")
    with luna(*asked) as first, luna(*asked) as second:
        said = [process.communicate(timeout=120)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert_whole()


def test_a_locked_cache_is_waited_for(
    prepare: Prepare, prepared: Path, assert_whole: Callable[[], None]
) -> None:
    for path in prepared.glob(VALUES):
        path.unlink()
    freed_at: list[float] = []
    with closing(
        sqlite3.connect(prepared / "cache.db", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")

        def let_go() -> None:
            other.execute("COMMIT")
            freed_at.append(time.monotonic())

        thread = threading.Timer(2, let_go)
        thread.start()
        outcome = prepare()
        ended_at = time.monotonic()
        thread.join()
    assert outcome.code == 0, outcome.err
    assert ended_at > freed_at[0]
    assert_whole()


def deleted(database: Path) -> None:
    database.unlink()


def overwritten(database: Path) -> None:
    database.write_bytes(b"this is no database" * 1000)


def cut(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


@pytest.mark.parametrize("spoil", [deleted, overwritten, cut])
def test_a_database_that_is_gone_or_damaged_is_put_aside_and_made_anew(
    run_luna: Callable[..., Outcome],
    prepare: Prepare,
    prepared: Path,
    assert_whole: Callable[[], None],
    spoil: Callable[[Path], None],
) -> None:
    spoil(prepared / "cache.db")
    assert_refused(run_luna("train-cls", prepared, "--dry-run"), 6, "prep")
    outcome = prepare()
    assert outcome.code == 0, outcome.err
    if spoil is not deleted:
        assert "warning: the index" in outcome.err
        assert list(prepared.glob("cache.db.damaged-*"))
    assert_whole()


def entries(cache: Path, kind: str) -> list[Path]:
    with closing(sqlite3.connect(cache / "cache.db")) as connection:
        rows = connection.execute(
            "SELECT filename FROM Cache WHERE key LIKE ? ORDER BY key", (f"{kind}:%",)
        )
        return [cache / name for (name,) in rows]


def assert_no_training(
    run_luna: Callable[..., Outcome], prepared: Path, word: str, command: str = "train-cls"
) -> None:
    """What is damaged is not trained on, and the message says what to do."""
    runs = prepared.parent / "runs"
    trained = run_luna(command, prepared, "--runs", runs, "--set", "split.stride=4")
    assert_refused(trained, 6, word, "luna prep")


def assert_made_anew(prepare: Prepare, damaged: int) -> None:
    """Another run says how many entries were damaged, and ends well."""
    outcome = prepare()
    assert outcome.code == 0
    assert outcome.err.count(" was damaged (") == damaged


@pytest.mark.parametrize("kind", ["record", "hu"])
def test_a_flipped_bit_is_found_and_the_entry_made_anew(
    run_luna: Callable[..., Outcome],
    prepare: Prepare,
    prepared: Path,
    assert_whole: Callable[[], None],
    kind: str,
) -> None:
    for path in entries(prepared, kind):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    assert_no_training(run_luna, prepared, "damaged")
    assert_made_anew(prepare, SCANS)
    assert_whole()


@pytest.mark.parametrize("kind", ["record", "hu", "mask"])
def test_entries_in_each_others_place_are_found_and_made_anew(
    run_luna: Callable[..., Outcome],
    prepare: Prepare,
    prepared: Path,
    assert_whole: Callable[[], None],
    kind: str,
) -> None:
    """Each is whole by itself, but of another scan."""
    one, other = entries(prepared, kind)[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    command = "train-seg" if kind == "mask" else "train-cls"
    assert_no_training(run_luna, prepared, "another entry's", command)
    assert_made_anew(prepare, 2)
    assert_whole()


def test_a_record_of_something_else_is_made_anew(
    prepare: Prepare, prepared: Path, assert_whole: Callable[[], None]
) -> None:
    for path in entries(prepared, "record"):
        path.write_bytes(frame_arrays({}, {}))
    assert_made_anew(prepare, SCANS)
    assert_whole()


def test_a_planted_pickle_is_never_executed(
    run_luna: Callable[..., Outcome],
    prepare: Prepare,
    prepared: Path,
    tmp_path: Path,
    assert_whole: Callable[[], None],
) -> None:
    bomb = pickle.dumps(Planted(tmp_path / "executed"))
    for path in prepared.glob(VALUES):
        path.write_bytes(bomb)
    with closing(sqlite3.connect(prepared / "cache.db")) as connection, connection:
        # Mode 4 is diskcache's for a pickle, in a file or in the value itself.
        connection.execute("UPDATE Cache SET mode = 4")
        connection.execute("UPDATE Cache SET filename = NULL, value = ? WHERE rowid % 2", (bomb,))
    assert_refused(run_luna("train-cls", prepared, "--dry-run"), 6, "luna prep")
    assert prepare().code == 0
    assert not (tmp_path / "executed").exists()
    assert_whole()
    pickle.loads(bomb)  # noqa: S301 - it does go off when it is loaded
    assert (tmp_path / "executed").exists()


def test_a_disk_that_fills_up_keeps_what_is_done(
    prepare: Prepare,
    small_disk: Path,  # noqa: F811
    small_cache: Path,
    contents_of: Contents,
) -> None:
    # Room for the bytes, not for all the files: some entries are stored.
    mount(small_disk, "remount,size=64m,nr_inodes=20")
    into = small_disk / "cache"
    assert_refused(prepare(into=into), 4, "the disk is full", "cache", "free some space")
    assert 0 < len(list(into.glob(VALUES))) < 3 * SCANS
    assert not (into / "prepared.json").exists()
    mount(small_disk, "remount,size=64m,nr_inodes=2000")
    assert prepare(into=into).code == 0
    assert contents_of(into) == contents_of(small_cache)


def test_a_disk_that_is_too_small_is_found_before_anything_is_read(
    prepare: Prepare,
    small_disk: Path,  # noqa: F811
) -> None:
    outcome = prepare("--dry-run", into=small_disk / "cache")
    assert (outcome.code, outcome.err.count("the disk is too small")) == (4, 1)
    outcome = prepare(into=small_disk / "cache")
    assert_refused(outcome, 4, "the disk is too small", "GiB needed", "another --cache")
    assert not (small_disk / "cache").exists()


def test_shared_memory_that_is_too_small(small_cohort: Path, cache: Path) -> None:
    """In a mount namespace of its own; workers keep their locks in /dev/shm."""
    command = [sys.executable, "-m", "luna", "prep", small_cohort, "--cache", cache]
    done = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c"),
            'mount -t tmpfs -o size=4k tmpfs /dev/shm || exit 99; exec "$@"',
            *("sh", *map(str, command), "--workers", "2"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"no right to mount over /dev/shm here: {done.stderr.strip()}")
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert_refused(outcome, 4, "shared memory", "--workers 1")


def test_one_bad_scan_among_good_ones(prepare: Prepare, cohort: Path, cache: Path) -> None:
    (cohort / "subset2" / "1.2.3.2.raw").write_bytes(b"x")
    outcome = prepare(data=cohort)
    assert outcome.code == 5
    assert "warning: no result for 1.2.3.2: 1.2.3.2.raw: " in outcome.err
    assert "error: 1 of 4 scans could not be prepared" in outcome.err
    assert (cache / "prepared.json").exists()


def test_a_disk_of_scans_that_cannot_be_read_takes_no_earlier_scan_along(
    run_luna: Callable[..., Outcome],
    prepare: Prepare,
    prepared: Path,
    cohort: Path,
    tmp_path: Path,
    assert_whole: Callable[[], None],
) -> None:
    for path in cohort.rglob("*.raw"):
        path.unlink()
    outcome = prepare(data=cohort)
    assert outcome.code == 5
    assert "error: 4 of 4 scans could not be prepared" in outcome.err
    assert "no scan could be read" in outcome.err
    assert "the others" not in outcome.err
    assert_whole()
    nothing = tmp_path / "new"
    assert prepare(data=cohort, into=nothing).code == 5
    assert_refused(run_luna("train-cls", nothing), 6, "no prepared cohort here")


def rewritten(name: str, old: str, new: str) -> Callable[[Path], None]:
    """A change of one table."""

    def change(cohort: Path) -> None:
        text = (cohort / name).read_text()
        assert old in text
        (cohort / name).write_text(text.replace(old, new, 1))

    return change


def elsewhere(cohort: Path) -> None:
    """The annotations of one scan 10 m from where they were."""
    path = cohort / "annotations.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    for row in rows:
        if row[0] == "1.2.3.3":
            row[1] = str(float(row[1]) + 10_000)
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def off_the_lungs(cohort: Path) -> None:
    """All annotations 60 mm behind their nodules: inside the volumes, in the chest's wall."""
    path = cohort / "annotations.csv"
    head, *rows = path.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    moved = [",".join([a, b, str(float(y) - 60), *rest]) for a, b, y, *rest in cells]
    path.write_text("\n".join([head, *moved]) + "\n")


def without(name: str) -> Callable[[Path], None]:
    return lambda cohort: (cohort / name).unlink()


def a_pipe(name: str) -> Callable[[Path], None]:
    """A table that would be waited for for ever."""

    def change(cohort: Path) -> None:
        (cohort / name).unlink()
        os.mkfifo(cohort / name)

    return change


def on_both_sides(cohort: Path) -> None:
    shutil.copy(cohort / "subset0" / "1.2.3.0.mhd", cohort / "subset1")


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (rewritten("annotations.csv", "coordY", "y"), 3, ("annotations.csv", "no column coordY")),
        (
            rewritten("annotations.csv", ",10\n", "\n"),
            3,
            ("line 3: 4 cells",),
        ),
        (
            rewritten("annotations.csv", ",15\n", ",nan\n"),
            3,
            ("line 2: diameter_mm is not",),
        ),
        (rewritten("candidates_V2.csv", ",0\n", ",2\n"), 3, ("candidates_V2.csv: line", "class")),
        (rewritten("candidates_V2.csv", "1.2.3.0", ""), 3, ("line 2: no seriesuid",)),
        (elsewhere, 3, ("annotations.csv", "4 of 16 annotations lie outside", "LPS")),
        (on_both_sides, 2, ("1.2.3.0", "two subsets")),
        (off_the_lungs, 3, ("annotations lie on no nodule", "LPS mm")),
        (without("annotations.csv"), 3, ("annotations.csv: this table is missing", "zenodo")),
        (a_pipe("annotations.csv"), 3, ("annotations.csv: is not a plain file",)),
        (a_pipe("candidates_V2.csv"), 3, ("candidates_V2.csv: is not a plain file",)),
        (rewritten("candidates_V2.csv", ",0\n", ",٠\n"), 3, ("class is neither true nor false",)),
        (rewritten("annotations.csv", ",15\n", ",１５\n"), 3, ("diameter_mm is not a finite",)),
    ],
)
def test_bad_tables(
    prepare: Prepare,
    cohort: Path,
    cache: Path,
    spoil: Callable[[Path], None],
    code: int,
    words: tuple[str, ...],
) -> None:
    spoil(cohort)
    assert_refused(prepare(data=cohort), code, *words)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("candidates_V2.csv", ",1\n", ",1.0\n"),
        ("candidates_V2.csv", "seriesuid,coordX", "SeriesInstanceUID , COORDX"),
        ("annotations.csv", "diameter_mm", "Diameter_mm "),
    ],
)
def test_tables_as_spreadsheets_write_them(
    prepare: Prepare,
    cohort: Path,
    assert_whole: Callable[[], None],
    name: str,
    old: str,
    new: str,
) -> None:
    text = (cohort / name).read_text()
    assert old in text
    (cohort / name).write_text(text.replace(old, new))
    assert prepare(data=cohort).code == 0
    assert_whole()


def test_scans_unpacked_twice_in_a_folder_of_their_own(
    prepare: Prepare, cohort: Path, tmp_path: Path, assert_whole: Callable[[], None]
) -> None:
    inner = cohort / "subset1"
    inner.rename(cohort / "aside")
    inner.mkdir()
    (cohort / "aside").rename(inner / "subset1")
    above = tmp_path / "above"
    above.mkdir()
    cohort.rename(above / "LUNA16")
    assert prepare(data=above).code == 0
    assert_whole()


def test_nodules_that_no_candidate_lies_in_are_counted_and_added_on_demand(
    prepare: Prepare, cohort: Path
) -> None:
    path = cohort / "candidates_V2.csv"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(row for row in rows if not row.endswith(",1\n")))
    outcome = prepare(data=cohort)
    assert outcome.code == 0
    assert "warning: annotations.csv: 16 annotated nodules contain no candidate" in outcome.err
    assert "36 candidates" in outcome.out
    outcome = prepare("--set", "candidates.from_annotations=true", data=cohort)
    assert "16 annotated nodules added to 36 candidates" in outcome.err
    assert "contain no candidate" not in outcome.err
    assert "52 candidates" in outcome.out


def test_a_cohort_without_candidates_gets_its_own_and_says_where_luna16s_come_from(
    prepare: Prepare, cohort: Path
) -> None:
    (cohort / "candidates_V2.csv").unlink()
    outcome = prepare(data=cohort)
    assert outcome.code == 0, outcome
    assert "candidates_V2.csv: there is no such table" in outcome.err
    assert "zenodo.org/records/3723295" in outcome.err
    assert "4 scans" in outcome.out


def test_a_folder_of_something_else(prepare: Prepare, cache: Path) -> None:
    cache.mkdir()
    (cache / "thesis.tex").write_text("mine")
    assert_refused(prepare(), 2, "already holds other files", "--cache")
    assert [path.name for path in cache.iterdir()] == ["thesis.tex"]

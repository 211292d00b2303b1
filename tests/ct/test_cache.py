"""The store of framed bytes: what it keeps, what it refuses, and what damage does to it."""

import os
import pickle
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
from diskcache.core import DBNAME, MODE_PICKLE, MODE_RAW, MODE_TEXT

from luna.ct import cache as module
from luna.ct.cache import LOCK, ORPHAN_S, Cache
from luna.run.errors import EnvironmentFault, TrustError, UsageError

SMALL, LARGE = b"a" * 10, b"b" * 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache of two values, closed."""
    store = Cache(tmp_path / "cache", create=True)
    store.put("small", SMALL)
    store.put("large", LARGE)
    store.close()
    return tmp_path / "cache"


def sql(folder: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(folder / DBNAME) as connection:
        connection.execute(statement, values)
    connection.close()


def files(folder: Path) -> set[Path]:
    return set(folder.glob("??/??/*.val"))


def test_values_come_back_and_are_replaced(folder):
    store = Cache(folder)
    assert store.get("small") == SMALL
    assert store.get("large") == LARGE
    path = store.path("large")
    assert path is not None
    assert path.read_bytes() == LARGE
    assert store.get("other") is None
    assert store.path("other") is None
    store.put("large", SMALL)
    assert store.get("large") == SMALL
    assert not path.exists()
    assert len(files(folder)) == 2


def test_small_values_have_a_file_too(folder):
    path = Cache(folder).path("small")
    assert path is not None
    assert path.read_bytes() == SMALL


@pytest.mark.parametrize("value", ["text", [300], 1.5])
def test_only_bytes_go_in(folder, value):
    before = files(folder)
    with pytest.raises((TypeError, ValueError)):
        Cache(folder).put("a", value)
    assert files(folder) == before


def test_nothing_expires_or_is_evicted(folder):
    store = Cache(folder, create=True)._store
    assert store.eviction_policy == "none"
    assert store.cull_limit == 0
    assert store.size_limit > 1 << 60


def test_the_folder_is_for_its_owner_alone(tmp_path):
    deep = tmp_path / "a" / "b"
    Cache(deep, create=True)
    assert stat.S_IMODE(deep.stat().st_mode) == 0o700


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(UsageError, match="already holds other files"):
        Cache(tmp_path, create=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_lock_that_is_a_link_is_not_followed(folder, tmp_path):
    other = tmp_path / "other"
    other.write_text("precious")
    (folder / LOCK).unlink()
    (folder / LOCK).symlink_to(other)
    with pytest.raises(EnvironmentFault, match="cannot be used"):
        Cache(folder, create=True)
    assert other.read_text() == "precious"


def test_a_path_that_diskcache_would_rewrite_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\$"):
        Cache(tmp_path / "$HOME", create=True)
    assert not (tmp_path / "$HOME").exists()
    # Without such a variable the name stays what it is.
    Cache(tmp_path / "$no_such_variable", create=True).put("a", SMALL)
    assert files(tmp_path / "$no_such_variable")


def test_a_missing_index_is_no_cache(folder, tmp_path):
    (folder / DBNAME).unlink()
    for place in (folder, tmp_path / "nowhere"):
        with pytest.raises(TrustError, match="no prepared data") as caught:
            Cache(place)
        assert "luna prep" in caught.value.hint
    assert not (tmp_path / "nowhere").exists()


def junk(folder: Path) -> None:
    (folder / DBNAME).write_bytes(b"this is no database" * 1000)


def half(folder: Path) -> None:
    size = (folder / DBNAME).stat().st_size
    os.truncate(folder / DBNAME, size // 2)


def spoilt_page(folder: Path) -> None:
    with (folder / DBNAME).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


def strange_setting(folder: Path) -> None:
    sql(folder, "INSERT INTO Settings VALUES ('disk_strange', 1)")


def other_tables(folder: Path) -> None:
    sql(folder, "DROP TABLE Cache")
    sql(folder, "CREATE TABLE Cache (key TEXT)")


DAMAGES = [junk, half, spoilt_page, strange_setting, other_tables]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_put_aside_and_begun_anew(folder, damage):
    damage(folder)
    spoilt = (folder / DBNAME).read_bytes()
    with pytest.raises(TrustError, match="damaged") as caught:
        Cache(folder)
    assert "luna prep" in caught.value.hint
    told: list[str] = []
    store = Cache(folder, create=True, on_damage=told.append)
    assert len(told) == 1
    assert "damaged" in told[0]
    (aside,) = folder.glob(f"{DBNAME}.damaged-*[0-9]")
    assert aside.name in told[0]
    assert aside.stat().st_size == len(spoilt)
    assert store.get("small") is None
    store.put("small", SMALL)
    assert Cache(folder).get("small") == SMALL


def test_of_several_who_find_the_damage_one_mends_it(folder):
    junk(folder)
    told: list[str] = []
    stores: list[Cache] = []
    start = threading.Barrier(4)

    def open_it() -> None:
        start.wait()
        stores.append(Cache(folder, create=True, on_damage=told.append))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1
    assert len(stores) == 4
    stores[0].put("a", SMALL)
    assert stores[3].get("a") == SMALL


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_planted_pickle_is_absent_and_never_loaded(folder, tmp_path):
    crater = tmp_path / "crater"
    bomb = pickle.dumps(Bomb(crater))
    place = next(iter(files(folder))).parent / ("0" * 28 + ".val")
    place.write_bytes(bomb)
    name = place.relative_to(folder).as_posix()
    plant = "INSERT INTO Cache (key, raw, mode, filename, value) VALUES (?, ?, ?, ?, ?)"
    sql(folder, plant, "file", 1, MODE_PICKLE, name, None)
    sql(folder, plant, "inline", 1, MODE_PICKLE, None, bomb)
    sql(folder, plant, bomb, 0, MODE_RAW, None, b"under a pickled key")
    store = Cache(folder, create=True)
    for key in ("file", "inline"):
        assert store.get(key) is None
        assert store.path(key) is None
        store.put(key, SMALL)
        assert store.get(key) == SMALL
    store.sweep()
    assert not crater.exists()
    pickle.loads(bomb)  # noqa: S301 - it does go off when it is loaded
    assert crater.exists()


@pytest.mark.parametrize(
    "name", ["../mine", "/etc/passwd", "00/00/../../../mine", "00/00", "", None, 7]
)
def test_a_path_out_of_the_folder_is_absent_and_not_removed(folder, tmp_path, name):
    (tmp_path / "mine").write_bytes(SMALL)
    (folder / "00" / "00").mkdir(parents=True)
    sql(folder, "UPDATE Cache SET filename = ? WHERE key = 'small'", name)
    store = Cache(folder)
    assert store.get("small") is None
    assert store.path("small") is None
    store.put("small", SMALL)
    assert store.get("small") == SMALL
    assert (tmp_path / "mine").read_bytes() == SMALL
    assert (folder / "00" / "00").is_dir()


@pytest.mark.parametrize(("mode", "value"), [(MODE_RAW, b"raw"), (MODE_TEXT, "text"), (99, None)])
def test_a_value_of_another_kind_is_absent(folder, mode, value):
    sql(folder, "UPDATE Cache SET mode = ?, value = ? WHERE key = 'small'", mode, value)
    assert Cache(folder).get("small") is None
    assert Cache(folder).path("small") is None


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(folder):
    path = Cache(folder).path("small")
    assert path is not None
    path.unlink()
    os.mkfifo(path)
    assert Cache(folder).get("small") is None
    assert Cache(folder).path("small") is None


def test_a_file_that_is_gone_is_absent(folder):
    for path in files(folder):
        path.unlink()
    assert Cache(folder).get("small") is None
    assert Cache(folder).get("large") is None


def test_a_locked_cache_is_waited_for(folder):
    store = Cache(folder)
    other = sqlite3.connect(folder / DBNAME, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    held = threading.Event()

    def let_go() -> None:
        held.wait()
        time.sleep(0.3)
        other.execute("COMMIT")

    thread = threading.Thread(target=let_go)
    thread.start()
    held.set()
    store.put("late", SMALL)
    thread.join()
    other.close()
    assert store.get("late") == SMALL


def test_a_cache_locked_for_ever_is_said(folder, monkeypatch):
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.05)
    store = Cache(folder)
    other = sqlite3.connect(folder / DBNAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EnvironmentFault, match="cannot be locked"):
        store.put("never", SMALL)
    other.execute("ROLLBACK")
    other.close()
    assert store.get("never") is None
    assert len(files(folder)) == 2
    store.put("never", SMALL)


def test_files_that_a_killed_process_left_are_swept(folder):
    known = files(folder)
    old, young = (folder / "00" / "00" / (digit * 28 + ".val") for digit in "ab")
    old.parent.mkdir(parents=True)
    for path in (old, young, *known):
        path.touch()
    for path in (old, *known):
        os.utime(path, (0, time.time() - ORPHAN_S - 60))
    store = Cache(folder)
    store.sweep()
    assert files(folder) == known | {young}
    assert (folder / LOCK).exists()
    assert store.get("small") == SMALL

"""Workers of Dask: what they make is what one process makes, and a lost one costs nothing else."""

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from luna.run.batch import Done, ThisProcess, resumed, run_batch
from luna.run.batch.cluster import Cluster, local_count, visible_cards
from luna.run.checked import read_checked, write_checked
from luna.run.errors import EnvironmentFault, InputError, TrustError, UsageError
from luna.run.progress import Listener

from .clusters import RealCluster, real_cluster

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Toy:
    """Writes what becomes of a word; some words are bad for the process that works on them."""

    folder: Path

    def __call__(self, name: str, item: str) -> Done[str]:
        path = self.folder / f"{name}.json"

        def load() -> str | None:
            return str(read_checked(path)["result"]) if path.exists() else None

        def make() -> str:
            result = self.made(name, item)
            write_checked(path, {"result": result})
            return result

        return resumed(load, make)

    def made(self, name: str, item: str) -> str:
        begun = self.folder / f"begun-{name}-{os.getpid()}"
        begun.write_text("")
        if item == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "huge":
            return " " * sys.maxsize
        if item == "damaged":
            raise InputError("a bad item", file="/home/someone/scan.mhd")
        if item == "untrusted":
            raise TrustError("these weights cannot be trusted")
        if item == "slow" and len(list(self.folder.glob(f"begun-{name}-*"))) == 1:
            time.sleep(PATIENCE_S)  # it is killed before; the next worker does not wait
        return item.upper()


def engine(address: object) -> Cluster:
    return Cluster(str(address), warn=lambda sentence: None)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    with real_cluster(tmp_path_factory.mktemp("cluster"), 2) as running:
        yield running


def results_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def test_two_workers_leave_the_files_of_one_process(cluster: RealCluster, tmp_path: Path) -> None:
    items = {**{f"w{n}": f"word {n}" for n in range(12)}, "bad": "damaged", "big": "huge"}
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here = run_batch("toy", items, Toy(tmp_path / "here"), ThisProcess())
    there = run_batch("toy", items, Toy(tmp_path / "there"), engine(cluster.file))
    assert there == here
    assert there.failures == {"bad": "scan.mhd: a bad item", "big": "out of memory"}
    assert list(there.results) == [name for name in items if name not in there.failures]
    assert results_in(tmp_path / "there") == results_in(tmp_path / "here")
    again = run_batch("toy", items, Toy(tmp_path / "there"), engine(cluster.file))
    assert again.kept == len(again.results) == 12


def test_what_is_no_fault_of_one_item_ends_the_batch(cluster: RealCluster, tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="cannot be trusted"):
        run_batch("toy", {"a": "word", "b": "untrusted"}, Toy(tmp_path), engine(cluster.file))


def test_a_worker_killed_in_mid_item_leaves_it_to_another(tmp_path: Path) -> None:
    with real_cluster(tmp_path, 2) as cluster:
        work, items = Toy(tmp_path), {"a": "one", "s": "slow", "b": "two", "c": "three"}

        def kill() -> None:
            pattern = "begun-s-*"
            end = time.monotonic() + PATIENCE_S
            while not (begun := list(tmp_path.glob(pattern))) and time.monotonic() < end:
                time.sleep(0.02)
            os.kill(int(begun[0].name.rpartition("-")[2]), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        batch = run_batch("toy", items, work, engine(cluster.file))
        killer.join()
        assert batch.results == {"a": "ONE", "s": "SLOW", "b": "TWO", "c": "THREE"}
        assert len(list(tmp_path.glob("begun-s-*"))) == 2


@pytest.mark.slow
def test_an_item_that_kills_its_workers_is_given_up_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dask = pytest.importorskip("dask")
    told: list[str] = []
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        batch = run_batch(
            "toy",
            {"a": "one", "d": "deadly", "b": "two"},
            Toy(tmp_path),
            engine("local:2"),
            Listener(warn=told.append),
        )
    assert batch.results == {"a": "ONE", "b": "TWO"}
    reason = "2 workers were lost at it (is there memory enough for it?)"
    assert batch.failures == {"d": reason}
    assert told == [f"no result for d: {reason}"]
    assert len(list(tmp_path.glob("begun-d-*"))) == 2


class Interrupting(Toy):
    """Presses Ctrl-C in the coordinator, whose process is the item, while it is worked on."""

    def made(self, name: str, item: str) -> str:
        if item:
            os.kill(int(item), signal.SIGINT)
        time.sleep(0.5)
        return "whole"


def test_ctrl_c_lets_begun_items_end_and_begins_no_more(
    cluster: RealCluster, tmp_path: Path
) -> None:
    told: list[str] = []
    items = {"first": str(os.getpid()), **{f"i{n}": "" for n in range(40)}}
    with pytest.raises(KeyboardInterrupt):
        run_batch(
            "toy", items, Interrupting(tmp_path), engine(cluster.file), Listener(warn=told.append)
        )
    assert told == ["stopping after this step; press Ctrl-C again to stop at once"]
    assert "first.json" in results_in(tmp_path)
    assert len(results_in(tmp_path)) <= 4


def test_no_more_than_one_item_a_worker_is_taken_at_a_time(
    cluster: RealCluster, tmp_path: Path
) -> None:
    taken: list[int] = []
    finished: list[str] = []

    class Counted(dict[str, str]):
        """Items that know how many were taken before another was finished."""

        def __getitem__(self, name: str) -> str:
            taken.append(len(taken) - len(finished))
            return super().__getitem__(name)

    run_batch(
        "toy", Counted({f"n{k}": "word" for k in range(30)}), Toy(tmp_path), engine(cluster.file),
        each=lambda name, outcome: finished.append(name),
    )  # fmt: skip
    assert len(finished) == len(taken) == 30
    assert max(taken) <= 2


def test_a_scheduler_that_is_not_there_is_a_fault_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luna.run.batch.cluster.CONNECT_S", 0.5)
    with pytest.raises(EnvironmentFault, match="no scheduler answers"):
        run_batch("toy", {"a": "word"}, Toy(tmp_path), engine("tcp://127.0.0.1:9"))


def test_without_dask_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(EnvironmentFault, match="Dask is not installed") as caught:
        run_batch("toy", {"a": "word"}, Toy(tmp_path), engine("local:1"))
    assert "luna-ct[cluster]" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["local", "local:", "local:0", "local:x", "local:99999", "no.json"]
)
def test_what_names_no_cluster_is_refused_before_anything_is_loaded(text: str) -> None:
    with pytest.raises(UsageError, match="no cluster"):
        local_count(text)


def test_a_cluster_is_named_by_address_file_or_number(tmp_path: Path) -> None:
    (tmp_path / "scheduler.json").write_text("{}")
    assert local_count("local:3") == 3
    assert local_count("tcp://10.0.0.1:8786") == 0
    assert local_count(str(tmp_path / "scheduler.json")) == 0


def test_the_cards_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_cards(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert visible_cards(2) == ["3", "5"]

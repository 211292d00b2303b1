"""Many items: each has a result or a reason, what is done stays done, and Ctrl-C waits once."""

import os
import re
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from luna.run.batch import (
    Done,
    Failed,
    LocalProcesses,
    OneAhead,
    ThisProcess,
    engine_for,
    resumed,
    run_batch,
)
from luna.run.checked import DamagedError, read_checked, write_checked
from luna.run.errors import EnvironmentFault, InputError, TrustError
from luna.run.progress import Listener

ENGINES = [ThisProcess(), LocalProcesses(2)]


@dataclass(frozen=True)
class Doubled:
    """Writes twice the number of an item into a file of its own; some numbers are bad."""

    folder: Path

    def __call__(self, name: str, item: int) -> Done[int]:
        path = self.folder / f"{name}.json"

        def load() -> int | None:
            return int(read_checked(path)["doubled"]) if path.exists() else None

        def make() -> int:
            write_checked(path, {"doubled": double(item)})
            return 2 * item

        return resumed(load, make)


def double(item: int) -> int:
    errors = {
        -1: InputError("a bad item", file="/home/someone/scan.mhd", why="it is negative"),
        -2: MemoryError(),
        -3: TrustError("these weights cannot be trusted"),
        -4: EnvironmentFault("the disk is full"),
    }
    if item in errors:
        raise errors[item]
    return 2 * item


@dataclass
class Heard:
    """What a listener was told."""

    def __post_init__(self) -> None:
        self.warnings: list[str] = []
        self.steps: list[tuple[str, int, int, str]] = []
        self.listener = Listener(
            warn=self.warnings.append, progress=lambda *step: self.steps.append(step)
        )


@pytest.mark.parametrize("engine", ENGINES, ids=["here", "processes"])
def test_every_item_has_a_result_or_a_reason_in_the_order_of_the_items(tmp_path, engine):
    items = {"c": 3, "b": -1, "a": 1, "d": -2, "e": 5}
    heard = Heard()
    batch = run_batch("double", items, Doubled(tmp_path), engine, heard.listener)
    assert list(batch.results.items()) == [("c", 6), ("a", 2), ("e", 10)]
    # The file by name only: a reason travels further than the folders of this machine.
    bad = "scan.mhd: a bad item (it is negative)"
    assert list(batch.failures.items()) == [("b", bad), ("d", "out of memory")]
    assert sorted(heard.warnings) == [f"no result for b: {bad}", "no result for d: out of memory"]
    assert [step[:3] for step in heard.steps] == [("double", n, 5) for n in range(6)]
    told = [step[3] for step in heard.steps[1:]]
    assert told[-1].endswith(" s; 2 failed")  # and nothing is left
    assert re.search(r" s; \d failed; [\d,]+ an hour, about \d+ s left$", told[-2])


@pytest.mark.parametrize("engine", ENGINES, ids=["here", "processes"])
@pytest.mark.parametrize(("item", "error"), [(-3, TrustError), (-4, EnvironmentFault)])
def test_what_is_no_fault_of_one_item_ends_the_batch(tmp_path, engine, item, error):
    with pytest.raises(error):
        run_batch("double", {"a": 1, "b": item}, Doubled(tmp_path), engine)


def test_a_second_run_keeps_what_is_whole_and_makes_the_rest_anew(tmp_path):
    items = {"a": 1, "b": 2, "c": 3}
    work = Doubled(tmp_path)
    first = run_batch("double", items, work, ThisProcess())
    text = (tmp_path / "b.json").read_text()
    (tmp_path / "b.json").write_text(text.replace("4", "5"))
    (tmp_path / "c.json").unlink()
    heard = Heard()
    second = run_batch("double", items, work, ThisProcess(), heard.listener)
    assert (first.kept, second.kept) == (0, 1)
    assert second.results == first.results
    assert len(heard.warnings) == 1
    assert "b was damaged (its checksum differs" in heard.warnings[0]
    assert (tmp_path / "b.json").read_text() == text


class Interrupted(Doubled):
    """Presses Ctrl-C at the first item, before it is done, as often as asked."""

    def __call__(self, name: str, item: int) -> Done[int]:
        for _ in range(item):
            os.kill(os.getpid(), signal.SIGINT)
        return super().__call__(name, item)


def test_ctrl_c_finishes_what_was_begun_and_begins_nothing_more(tmp_path):
    heard = Heard()
    with pytest.raises(KeyboardInterrupt):
        run_batch("double", {"a": 1, "b": 0}, Interrupted(tmp_path), ThisProcess(), heard.listener)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert heard.warnings == ["stopping after this step; press Ctrl-C again to stop at once"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_batch("double", {"a": 2, "b": 0}, Interrupted(tmp_path), ThisProcess())
    assert not list(tmp_path.iterdir())


class Shelf:
    """Items that are read; it knows what was read and what was worked on, in order."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.begun = {name: threading.Event() for name in "abcd"}

    def reads(self):
        def read_of(name):
            def read():
                self.story.append(f"read {name}")
                self.begun[name].set()
                if name == "b":
                    raise InputError("b is damaged")
                return name.upper()

            return read

        return {name: read_of(name) for name in self.begun}

    def work(self, name, read):
        value = read()
        following = chr(ord(name) + 1)
        if following in self.begun:  # it is read meanwhile, or this would wait for ever
            assert self.begun[following].wait(60)
        self.story.append(f"worked on {name}")
        return Done(result=value)


def test_the_next_item_is_read_while_one_is_worked_on_and_no_further():
    shelf = Shelf()
    batch = run_batch("shelf", shelf.reads(), shelf.work, OneAhead())
    assert batch.results == {"a": "A", "c": "C", "d": "D"}
    assert batch.failures == {"b": "b is damaged"}
    assert shelf.story.index("read b") < shelf.story.index("worked on a")
    assert shelf.story.index("read d") < shelf.story.index("worked on c")
    assert shelf.story.index("worked on a") < shelf.story.index("read d")


def test_an_item_that_was_only_read_ahead_is_not_worked_on_after_ctrl_c():
    shelf = Shelf()

    def work(name, read):
        os.kill(os.getpid(), signal.SIGINT)
        return shelf.work(name, read)

    with pytest.raises(KeyboardInterrupt):
        run_batch("shelf", shelf.reads(), work, OneAhead())
    assert [line for line in shelf.story if line.startswith("worked")] == ["worked on a"]


def test_every_outcome_is_told_as_it_comes(tmp_path):
    told = {}
    items = {"a": 1, "b": -1}
    batch = run_batch("double", items, Doubled(tmp_path), ThisProcess(), each=told.__setitem__)
    assert told == {"a": Done(result=2), "b": Failed(reason=batch.failures["b"])}


def test_one_worker_is_this_process():
    assert (engine_for(1), engine_for(3)) == (ThisProcess(), LocalProcesses(3))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"sha256": "0"}', "[" * 50_000, "\xff"])
def test_a_file_that_luna_did_not_write_is_damaged(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(DamagedError):
        read_checked(tmp_path / "x.json")


def test_a_pipe_in_the_place_of_a_file_is_damaged_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(DamagedError, match="not a plain file"):
        read_checked(tmp_path / "x.json")


@dataclass(frozen=True)
class Following:
    """Counts an item one further than the one it names, which is there unless it is bad."""

    folder: Path

    def __call__(self, name: str, item: str) -> Done[int]:
        if name == "bad":
            raise InputError("a bad item")
        before = self.folder / item
        count = int(before.read_text()) + 1 if item and before.exists() else 1
        (self.folder / name).write_text(str(count))
        return Done(result=count)


@pytest.mark.parametrize("engine", ENGINES, ids=["here", "processes"])
def test_an_item_waits_for_the_one_that_it_needs_also_where_that_fails(tmp_path, engine):
    items = {"third": "second", "second": "first", "lone": "bad", "bad": "", "first": ""}
    after = {name: item for name, item in items.items() if item}
    batch = run_batch("step", items, Following(tmp_path), engine, after=after)
    assert batch.results == {"third": 3, "second": 2, "lone": 1, "first": 1}
    assert list(batch.failures) == ["bad"]


def test_items_that_wait_for_each_other_are_refused(tmp_path):
    items = {"a": "b", "b": "a"}
    with pytest.raises(ValueError, match="2 items wait for each other"):
        run_batch("step", items, Following(tmp_path), ThisProcess(), after=items)

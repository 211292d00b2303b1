"""Configs and overrides bent at random: every key that is set is obeyed, or refused by name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.data.prep.config import PrepConfig
from luna.detect.config import DiagnoseConfig
from luna.evaluate.cohort import CohortConfig
from luna.phantom.config import PhantomConfig
from luna.run.config import dump_config, flat, load_config
from luna.run.errors import UsageError
from luna.score.evaluation import ScoreConfig
from luna.train.recipes import ClassifierRecipe, SegmenterRecipe

from .fuzzing import NUMBERS, WORDS, Rows, fuzzed, fuzzed_at_length, mutants, result_or_refusal

ROOTS = (
    *(DiagnoseConfig, PrepConfig, CohortConfig, ScoreConfig, PhantomConfig),
    *(ClassifierRecipe, SegmenterRecipe),
)
KEYS = tuple(sorted({key for root in ROOTS for key in flat(root())}))
VALUES = (
    *(
        "true",
        "false",
        '"none"',
        '"auto"',
        '"whole"',
        "[1, 2]",
        "[2.0, 1.0]",
        "[]",
        "{}",
        "{a = 1}",
    ),
    *('"""a', "1979-05-27", "07:32:00", "0o17", "1_000", "-0.0", "[[1, 2]]", "[1, 2", '"\\u0000"'),
)


def rows_of(root: type) -> Rows:
    lines = dump_config(root()).splitlines()
    return [line.split(" = ", 1) if " = " in line else [line] for line in lines]


def join(rows: Rows) -> str:
    return "".join(" = ".join(row) + "\n" for row in rows)


TEXTS = {root: mutants(rows_of(root), join, (*KEYS, *VALUES)) for root in ROOTS}
bent = st.sampled_from(ROOTS).flatmap(lambda root: st.tuples(st.just(root), TEXTS[root]))

override = st.tuples(
    st.one_of(st.sampled_from(KEYS), st.sampled_from(WORDS), st.text(max_size=9)),
    st.sampled_from(["=", "=", "=", " = ", "==", "", ":"]),
    st.one_of(st.sampled_from((*VALUES, *NUMBERS, *WORDS)), st.text(max_size=9)),
).map("".join)


def leaves(table: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a TOML document under its dotted key."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def at(config: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        config = getattr(config, name)
    return config


def assert_obeyed(config: Any, dotted: str, value: Any) -> None:
    """The config has the value that a text gives, in its own type."""
    held = at(config, dotted)
    assert not is_dataclass(held)
    if isinstance(held, Path):
        held = str(held)
    elif isinstance(held, tuple):
        held, value = list(held), list(value)
    if held is None:
        held = "none"
    assert held == value, dotted
    assert isinstance(held, bool) == isinstance(value, bool)


def judge_file(folder: Path, root: type, data: bytes) -> None:
    path = folder / "bent.toml"
    path.write_bytes(data)
    config = result_or_refusal(lambda: load_config(root, path), folder, codes=(2,))
    if config is not None:
        for key, value in leaves(tomllib.loads(data.decode())):
            assert_obeyed(config, key, value)
        assert load_config(root, None) == root()
        path.write_text(dump_config(config), encoding="utf-8")
        assert load_config(root, path) == config


def judge_override(root: type, text: str) -> None:
    """Obeyed, with nothing else changed, or refused."""
    try:
        config = load_config(root, None, [text])
    except UsageError:
        return
    key = text.partition("=")[0]
    usual = flat(root())
    changed = {name for name, value in flat(config).items() if value != usual[name]}
    dotted = ".".join(part.strip() for part in key.split("."))
    assert all(name == dotted or name.startswith(f"{dotted}.") for name in changed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configs")


@pytest.mark.parametrize("root", ROOTS)
def test_the_defaults_are_obeyed(folder: Path, root: type) -> None:
    judge_file(folder, root, join(rows_of(root)).encode())


@fuzzed(300)
@given(bent=bent)
def test_any_config_is_obeyed_or_refused(folder: Path, bent: tuple[type, bytes]) -> None:
    judge_file(folder, *bent)


@fuzzed(200)
@given(root=st.sampled_from(ROOTS), text=override)
def test_any_override_is_obeyed_or_refused(root: type, text: str) -> None:
    judge_override(root, text)


@pytest.mark.slow
@fuzzed_at_length(10_000)
@given(bent=bent)
def test_many_configs(folder: Path, bent: tuple[type, bytes]) -> None:
    judge_file(folder, *bent)


@pytest.mark.slow
@fuzzed_at_length(10_000)
@given(root=st.sampled_from(ROOTS), text=override)
def test_many_overrides(root: type, text: str) -> None:
    judge_override(root, text)

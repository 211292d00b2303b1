"""Configs that are wrong are exit code 2 and say which key, in which file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luna.detect.config import DiagnoseConfig
from luna.run.config import load_config
from luna.run.errors import UsageError

from .conftest import Outcome, assert_refused

Diagnose = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[segment]\nbatch_slice = 2", ("segment.batch_slice", "did you mean")),
        ('threshold = "high"', ("threshold", "high", "a number")),
        ("threshold = 1.5", ("threshold is 1.5",)),
        ("threshold = nan", ("threshold is nan",)),
        ("[segment]\nregion = 'knee'", ("segment.region", "knee", "lungs, whole")),
        ("segment = 3", ("segment", "a table")),
        ("lungs_only = 1", ("lungs_only", "true or false")),
        ("threshold = 0.5\nthreshold = 0.6", ("cannot be read",)),
        ("threshold =", ("cannot be read",)),
        ("\0", ("cannot be read",)),
        ("[" * 5000, ("cannot be read",)),
        ("# " + "x" * (1 << 20), ("larger than",)),
    ],
)
def test_config_files(
    diagnose: Diagnose, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert_refused(diagnose("--config", path), 2, "mine.toml", *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("treshold=0.3", "did you mean threshold"),
        ("threshold", "not key=value"),
        ("=0.3", "not key=value"),
        ("threshold=x", "not a number"),
        ("segment.batch_slices=0", "below 1"),
        ("segment.batch_slices=1e3", "an integer"),
    ],
)
def test_overrides(diagnose: Diagnose, override: str, words: str) -> None:
    assert_refused(diagnose("--set", override), 2, words)


def test_a_config_that_is_absent_or_a_folder(diagnose: Diagnose, tmp_path: Path) -> None:
    for path in (tmp_path / "no.toml", tmp_path):
        assert_refused(diagnose("--config", path), 2, path.name, "no such config file")


TOML = st.lists(
    st.tuples(
        st.sampled_from(["threshold", "segment", "classify", "lungs_only", "region", "x", "a.b"]),
        st.sampled_from(["=", " = ", "", "=="]),
        st.one_of(
            st.sampled_from(
                ["0.5", "true", "[", "{}", "'lungs'", "1e400", "-0", "[1, 2]", "{a=1}"]
            ),
            st.text(max_size=8),
        ),
    ),
    max_size=5,
).map(lambda lines: "\n".join("".join(line) for line in lines))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(TOML, st.text(max_size=60)))
def test_any_config_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(UsageError):
        assert isinstance(load_config(DiagnoseConfig, path), DiagnoseConfig)

"""A file with a checksum gives back what was written, or says that it was damaged."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luna.run import checked
from luna.run.checked import DamagedError, read_checked, write_checked

VALUES = {"p": [0.25, 1e-300, -0.0], "name": "Größe\u2028", "none": None, "deep": {"a": [True]}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.dictionaries(st.text(max_size=6).filter(lambda name: name != "sha256"), json_values))
def test_values_come_back(tmp_path: Path, values: dict[str, object]) -> None:
    write_checked(tmp_path / "a.json", values)
    assert read_checked(tmp_path / "a.json") == values


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_checked(path, VALUES)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for value in (whole[place] ^ 1, 0, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                assert read_checked(path) == VALUES  # a blank between two values, as another one
            except DamagedError:
                continue


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_that_was_cut_is_damaged(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.json"
    write_checked(path, VALUES)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DamagedError):
        read_checked(path)


@pytest.mark.parametrize(
    "text", ["[]", "null", "{}", '{"sha256": 1}', "[" * 20_000, '{"sha256": "a"}']
)
def test_other_json_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DamagedError):
        read_checked(tmp_path / "a.json")


def test_a_value_that_was_edited_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_checked(path, VALUES)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "another"}))
    with pytest.raises(DamagedError, match="edited or damaged"):
        read_checked(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(DamagedError, match="not a plain file"):
        read_checked(tmp_path / "a.json")


def test_an_endless_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checked(tmp_path / "a.json", VALUES)
    monkeypatch.setattr(checked, "CHECKED_BYTES_MAX", 10)
    with pytest.raises(DamagedError, match="not a plain file of luna"):
        read_checked(tmp_path / "a.json")


def test_numbers_that_json_lacks_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_checked(tmp_path / "a.json", {"p": float("nan")})
    assert list(tmp_path.iterdir()) == []

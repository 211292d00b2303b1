"""Records as JSON values."""

import json
from dataclasses import dataclass

import numpy as np

from luna.evaluate.metrics import plain
from luna.score.ranking import Interval


@dataclass(frozen=True)
class Inner:
    value: float | None
    points: np.ndarray


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    many: tuple[Inner, ...]
    by_name: dict[str, Interval]


def test_records_become_values_without_their_arrays():
    inner = Inner(value=None, points=np.zeros(3))
    outer = Outer(name="x", inner=inner, many=(inner,), by_name={"a": Interval(0.25, 0.5)})
    found = plain(outer)
    assert found == {
        "name": "x",
        "inner": {"value": None},
        "many": [{"value": None}],
        "by_name": {"a": {"low": 0.25, "high": 0.5}},
    }
    assert json.loads(json.dumps(found)) == found
    assert plain(None) is None

"""`--shard i/n`: shares that hold every item once, whatever else is in the list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.run.batch import Shard
from luna.run.errors import UsageError


@given(st.sets(st.text(min_size=1), max_size=60), st.integers(1, 9))
def test_every_item_is_in_one_share(names: set[str], count: int) -> None:
    items = dict.fromkeys(sorted(names), 0)
    shares = [Shard(number, count).of(items) for number in range(1, count + 1)]
    assert sorted(name for share in shares for name in share) == sorted(names)


@given(st.sets(st.text(min_size=1), min_size=1, max_size=30), st.text(min_size=1))
def test_another_item_moves_none(names: set[str], another: str) -> None:
    share = Shard(2, 3)
    more = share.of(dict.fromkeys([another, *names], 0))
    assert set(share.of(dict.fromkeys(names, 0))) == set(more) - ({another} - names)


def test_shares_are_of_like_size() -> None:
    names = {f"1.3.6.1.4.1.14519.{n}": n for n in range(10_000)}
    sizes = [len(Shard(number, 8).of(names)) for number in range(1, 9)]
    assert sum(sizes) == 10_000
    assert min(sizes) > 1100  # 1,250 each; a deviation of 33 is one sigma
    assert max(sizes) < 1400


def test_the_shares_are_the_same_on_every_machine() -> None:
    assert [name for name in "abcdefgh" if Shard(1, 2).holds(name)] == [*"abcef"]


@pytest.mark.parametrize(
    "text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1/9999999"]
)
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no share"):
        Shard.named(text)


def test_a_share_is_shown_as_it_is_named() -> None:
    assert str(Shard.named("12/100")) == "12/100"

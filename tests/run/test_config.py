"""Config files and overrides: what is read back, and what every mistake is told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.phantom.config import PhantomConfig
from luna.run.config import CONFIGS, dump_config, load_config
from luna.run.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    mode: Literal["fast", "exact"] = "fast"
    level: Literal[1, 2] = 1
    scale: float | None = 1.5

    def __post_init__(self) -> None:
        if self.scale is not None and not self.scale > 0:
            raise UsageError(f"scale is {self.scale}, not above 0", hint="use 1.5")


@dataclass(frozen=True, kw_only=True, slots=True)
class Middle:
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Root:
    middle: Middle = field(default_factory=Middle)
    window: tuple[int, int] = (-1000, 400)
    pairs: tuple[tuple[float, float], ...] = ()
    count: int = 3
    enabled: bool = False
    title: str = "plain"
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Needy:
    out: str


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_without_file() -> None:
    assert load_config(Root) == Root()


def test_a_name_is_the_config_that_luna_ships_under_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    by_name = load_config(PhantomConfig, Path("heldout-cohort"))
    assert by_name == load_config(PhantomConfig, CONFIGS / "heldout-cohort.toml")
    assert by_name != PhantomConfig()
    with pytest.raises(UsageError, match="no such config file") as caught:
        load_config(PhantomConfig, Path("heldout"))
    assert "heldout-cohort" in caught.value.hint
    (tmp_path / "heldout-cohort").write_text("")
    with pytest.raises(UsageError, match="both a path here and the name"):
        load_config(PhantomConfig, Path("heldout-cohort"))


def test_file_is_a_diff_and_overrides_are_a_diff_from_it(tmp_path: Path) -> None:
    path = write(tmp_path, 'count = 7\nenabled = true\n[middle.inner]\nmode = "exact"\nscale = 2\n')
    config = load_config(
        Root, path, ["count=8", "middle.names=['a', 'b']", "folder='x y'", "window=[0, 1]"]
    )
    inner = Inner(mode="exact", scale=2.0)
    assert config == Root(
        count=8,
        enabled=True,
        middle=Middle(inner=inner, names=("a", "b")),
        folder=Path("x y"),
        window=(0, 1),
    )
    assert type(config.middle.inner.scale) is float


def test_later_overrides_win_and_tables_merge() -> None:
    config = load_config(
        Root, None, ["count=1", "count=2", "middle.inner={scale=3.0}", "middle.inner.level=2"]
    )
    assert (config.count, config.middle.inner) == (2, Inner(scale=3.0, level=2))


def test_a_table_is_a_diff_from_the_default_of_its_own_field(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Outer:
        middle: Middle = field(default_factory=lambda: Middle(names=("a",), inner=Inner(level=2)))

    expected = Middle(names=("a",), inner=Inner(level=2, scale=3.0))
    assert load_config(Outer, None, ["middle.inner.scale=3"]).middle == expected
    assert load_config(Outer, write(tmp_path, "[middle.inner]\nscale = 3")).middle == expected


@pytest.mark.parametrize(
    ("override", "value"),
    [("title=two words", "two words"), ("title=", ""), ('title="12"', "12"), ("title=a=b", "a=b")],
)
def test_bare_words_are_text(override: str, value: str) -> None:
    assert load_config(Root, None, [override]).title == value


def test_none_is_a_word() -> None:
    assert load_config(Root, None, ["middle.inner.scale=none"]).middle.inner.scale is None


def test_a_line_break_in_an_override_sets_no_second_key() -> None:
    config = load_config(Root, None, ['title="a"\ncount=9'])
    assert config == Root(title='"a"\ncount=9')


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("cuont = 1", "unknown key cuont", "did you mean count?"),
        ("[middle.inner]\nmodes = 1", "unknown key middle.inner.modes", "middle.inner.mode?"),
        ("scale = 1.0", "unknown key scale", "did you mean middle.inner.scale?"),
        ("zzz = 1", "unknown key zzz", "known keys: middle, window"),
        ('count = "3"', 'count is "3", not an integer', ""),
        ("count = 3.0", "count is 3.0, not an integer", ""),
        ("count = true", "count is true, not an integer", ""),
        ("enabled = 1", "enabled is 1, not true or false", ""),
        ("title = 2026-01-01", 'title is "2026-01-01", not text in quotes', ""),
        ("middle = 3", "middle is 3, not a table", ""),
        ("window = [1]", "window is [1], not a list of 2", ""),
        ("window = 1", "window is 1, not a list in brackets", ""),
        ("pairs = [[1, 2], [3]]", "pairs is [3], not a list of 2", ""),
        (
            "[middle.inner]\nmode = 'slow'",
            "middle.inner.mode is 'slow', not one of fast, exact",
            "",
        ),
        ("[middle.inner]\nlevel = true", "middle.inner.level is True, not one of 1, 2", ""),
        ("[middle.inner]\nscale = -1", "scale is -1.0, not above 0", "use 1.5"),
        ("[middle.inner]\nscale = nan", "middle.inner.scale is nan, not a finite number", ""),
        ("[middle.inner]\nscale = -inf", "middle.inner.scale is -inf, not a finite number", ""),
        (f"count = {1 << 63}", 'count is "a huge integer", not one of 64 bits', ""),
        (f"[middle.inner]\nscale = {10**400}", "middle.inner.scale is", ""),
        ("count = ", "this config cannot be read", ""),
        ("x = " + "[" * 5000, "this config cannot be read", ""),
    ],
)
def test_mistakes_in_a_file_name_it(tmp_path: Path, text: str, what: str, hint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_config(Root, path)
    assert caught.value.what.startswith(what)
    assert caught.value.file == str(path)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("cuont=1", "--set: unknown key cuont"),
        ("middle.inner.mode=slow", "--set: middle.inner.mode is 'slow'"),
        ("count", "--set count is not key=value"),
        ("=3", "--set =3 is not key=value"),
        ("middle..mode=1", "--set middle..mode=1 is not key=value"),
        ("middle.inner.scale=-1", "scale is -1.0, not above 0"),
        ("count.x=1", "--set: count is"),
    ],
)
def test_mistakes_in_an_override_do_not_blame_the_file(
    tmp_path: Path, override: str, what: str
) -> None:
    path = write(tmp_path, "enabled = true\n")
    with pytest.raises(UsageError) as caught:
        load_config(Root, path, [override])
    assert caught.value.what.startswith(what)
    assert caught.value.file is None


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="out is missing"):
        load_config(Needy, write(tmp_path, ""))
    assert load_config(Needy, None, ["out=x"]) == Needy(out="x")


@pytest.mark.parametrize("name", ["absent.toml", ".", "/dev/zero"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no such config file"):
        load_config(Root, tmp_path / name)


def test_binary_and_huge_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(Root, path)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(UsageError, match="larger than"):
        load_config(Root, path)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
integers = st.integers(-(2**63) + 1, 2**63 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
roots = st.builds(
    Root,
    middle=st.builds(
        Middle,
        inner=st.builds(
            Inner,
            mode=st.sampled_from(["fast", "exact"]),
            level=st.sampled_from([1, 2]),
            scale=st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        ),
        names=st.lists(text).map(tuple),
    ),
    window=st.tuples(integers, integers),
    pairs=st.lists(st.tuples(numbers, numbers)).map(tuple),
    count=integers,
    enabled=st.booleans(),
    title=text,
    folder=st.none() | text.filter(lambda name: "\0" not in name and name != "none").map(Path),
)


@given(roots)
def test_what_is_dumped_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, config: Root
) -> None:
    path = tmp_path_factory.getbasetemp() / "dumped.toml"
    path.write_text(dump_config(config), encoding="utf-8", newline="")
    assert load_config(Root, path) == config


def test_dump_refuses_the_word_that_means_none() -> None:
    @dataclass(frozen=True)
    class Named:
        name: str | None = None

    assert dump_config(Named()) == 'name = "none"\n'
    with pytest.raises(UsageError, match="cannot be the word none"):
        dump_config(Named("none"))


def test_dump_is_plain_toml() -> None:
    assert dump_config(Root(window=(-1, 2), title='a "b"\x7f')) == (
        "window = [-1, 2]\npairs = []\ncount = 3\nenabled = false\n"
        'title = "a \\"b\\"\\u007f"\nfolder = "none"\n\n'
        '[middle]\nnames = []\n\n[middle.inner]\nmode = "fast"\nlevel = 1\nscale = 1.5\n'
    )


@given(st.text(max_size=60))
def test_any_override_is_obeyed_or_refused(override: str) -> None:
    try:
        load_config(Root, None, [override])
    except UsageError:
        return


@given(st.text(max_size=80))
def test_any_file_is_obeyed_or_refused(tmp_path_factory: pytest.TempPathFactory, body: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_text(body, encoding="utf-8", errors="replace")
    try:
        load_config(Root, path)
    except UsageError:
        return

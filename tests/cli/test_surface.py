"""The public surface: what is documented is what is there, and commands stay thin."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import luna
from luna.cli.app import app
from luna.cli.diagnose.patient import PANEL

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
BODY_LINES_MAX, OWN_OPTIONS_MAX = 25, 12


def commands(command: Any = None, name: str = "luna") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    command = command or typer.main.get_command(app)
    subs = getattr(command, "commands", {})
    for sub_name, sub in subs.items():
        yield from commands(sub, f"{name} {sub_name}")
    if not subs:
        yield name, command


def long_options(command: Any) -> set[str]:
    names = {option for item in command.params for option in item.opts}
    return {name for name in names if name.startswith("--")} - {"--help"}


def facts_of_a_patient(command: Any) -> set[str]:
    """The options of one panel, which tell about the patient: they are looked for there alone."""
    items = [item for item in command.params if getattr(item, "rich_help_panel", "") == PANEL]
    return {item.opts[0] for item in items}


COMMANDS = dict(commands())


@pytest.fixture(scope="module")
def cli_docs() -> ModuleType:
    """The script that writes docs/cli.md."""
    path = Path(__file__).parents[2] / "scripts" / "write_cli_docs.py"
    spec = importlib.util.spec_from_file_location("write_cli_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_docs_are_current(cli_docs: ModuleType) -> None:
    assert cli_docs.page() == DOCS, "run scripts/write_cli_docs.py"


def test_docs_list_every_option_and_the_keys_of_every_config(cli_docs: ModuleType) -> None:
    sections = re.split(r"^### (luna .*)$", DOCS, flags=re.MULTILINE)[1:]
    documented = {
        name: set(re.findall(r"`(--[\w-]+)`", body))
        for name, body in zip(sections[::2], sections[1::2], strict=True)
    }
    for name, command in COMMANDS.items():
        assert long_options(command) <= documented[name]
        assert ("--config" in long_options(command)) == (name in cli_docs.CONFIGS)
    body = documented_keys("luna diagnose")
    assert body["threshold"] == '"none"'
    assert body["segment.batch_slices"] == "4"


def documented_keys(command: str) -> dict[str, str]:
    section = DOCS.partition(f"### {command}\n")[2].partition("\n### ")[0]
    return dict(re.findall(r"^\| `([a-z_.]+)` \| `(.*?)` \|", section, flags=re.MULTILINE))


@pytest.mark.parametrize("name", COMMANDS)
def test_options_that_mean_the_same_are_spelled_the_same(name: str, cli_docs: ModuleType) -> None:
    options = long_options(COMMANDS[name])
    assert ("--config" in options) == ("--set" in options) == ("--print-config" in options)
    own = options - set(cli_docs.SHARED)
    assert len(own - facts_of_a_patient(COMMANDS[name])) <= OWN_OPTIONS_MAX
    assert not own & {"--processes", "--jobs", "--output", "--gpu", "--verbose"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_thin_and_told(name: str) -> None:
    command = COMMANDS[name]
    assert "--debug" in long_options(command)
    assert all(item.help for item in command.params if item.name != "help")
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(command.callback)))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert ast.get_docstring(function)
    last = function.body[-1].end_lineno or 0
    lines = source.splitlines()[function.body[1].lineno - 1 : last]
    assert len([line for line in lines if line.strip()]) <= BODY_LINES_MAX


def config_classes() -> Iterator[type]:
    for info in pkgutil.walk_packages(luna.__path__, "luna."):
        if info.name == "luna.__main__":
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if name.endswith("Config") and is_dataclass(value) and value.__module__ == info.name:
                yield value  # type: ignore[misc]


def documented_fields(cls: type) -> set[str]:
    """The fields of a class's own body that a docstring follows."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(definition, ast.ClassDef)
    return {
        a.target.id
        for a, b in zip(definition.body, definition.body[1:], strict=False)
        if isinstance(a, ast.AnnAssign)
        and isinstance(a.target, ast.Name)
        and isinstance(b, ast.Expr)
    }


def test_every_config_field_is_documented() -> None:
    undocumented = []
    for cls in config_classes():
        documented = set[str]().union(*(documented_fields(base) for base in cls.__mro__[:-1]))
        undocumented += [
            f"{cls.__name__}.{item.name}" for item in fields(cls) if item.name not in documented
        ]
    assert undocumented == []

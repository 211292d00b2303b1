"""The public surface: what is documented is what is there, and commands stay thin."""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

import luna
from luna.cli.app import app
from luna.data.prep_scan import PrepConfig
from luna.detect.pipeline import DiagnoseConfig
from luna.run.config import dump_config
from luna.train.recipes import ClassifierRecipe, SegmenterRecipe

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
BODY_LINES_MAX = 25


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


COMMANDS = dict(commands())


def test_docs_list_exactly_the_options() -> None:
    sections = re.split(r"^### (luna .*)$", DOCS, flags=re.MULTILINE)[1:]
    documented = {
        name: {
            option
            for row in re.findall(r"^\| (`--.*?) \|", body, flags=re.MULTILINE)
            for option in re.findall(r"`(--[\w-]+)`", row)
        }
        for name, body in zip(sections[::2], sections[1::2], strict=True)
    }
    assert documented == {name: long_options(command) for name, command in COMMANDS.items()}


def documented_keys(command: str) -> dict[str, str]:
    section = DOCS.partition(f"### {command}\n")[2].partition("\n### ")[0]
    return dict(re.findall(r"^\| `([a-z_.]+)` \| `(.*?)` \|", section, flags=re.MULTILINE))


def keys(config: Any) -> dict[str, str]:
    table, place = {}, ""
    for line in filter(None, dump_config(config).splitlines()):
        if line.startswith("["):
            place = f"{line.strip('[]')}."
        else:
            key, _, value = line.partition(" = ")
            table[place + key] = value
    return table


@pytest.mark.parametrize(
    ("command", "config"),
    [
        ("luna diagnose", DiagnoseConfig()),
        ("luna train-cls", ClassifierRecipe()),
        ("luna prep", PrepConfig()),
    ],
)
def test_docs_list_exactly_the_config_keys_with_their_defaults(command: str, config: Any) -> None:
    assert documented_keys(command) == keys(config)


def test_docs_list_the_keys_of_train_seg_that_train_cls_has_not() -> None:
    own = keys(SegmenterRecipe()).items() - keys(ClassifierRecipe()).items()
    assert documented_keys("luna train-seg") == dict(own)


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


def test_every_config_field_is_documented() -> None:
    undocumented = []
    for cls in config_classes():
        definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(definition, ast.ClassDef)
        told = {
            a.target.id
            for a, b in zip(definition.body, definition.body[1:], strict=False)
            if isinstance(a, ast.AnnAssign)
            and isinstance(a.target, ast.Name)
            and isinstance(b, ast.Expr)
        }
        undocumented += [
            f"{cls.__name__}.{item.name}" for item in fields(cls) if item.name not in told
        ]
    assert undocumented == []

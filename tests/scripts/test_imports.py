"""Scripts use names that luna has: no test runs the long ones, which a moved name would break."""

import ast
import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """The modules of luna that a script imports from, and the names it takes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "luna":
            for alias in node.names:
                yield str(node.module), alias.name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_imports_what_luna_has(path: Path) -> None:
    for module, name in imported(path):
        has = hasattr(importlib.import_module(module), name)
        assert has or find_spec(f"{module}.{name}"), f"{path.name}: {module} has no {name}"


def test_there_are_scripts_to_hold_to_it() -> None:
    assert any(list(imported(path)) for path in SCRIPTS)

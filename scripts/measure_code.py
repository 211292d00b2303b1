"""Print the measures of the code as a Markdown table: `python scripts/measure_code.py [FOLDER]`.

Lines, modules, functions and the options of each command, of this checkout or of another one.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def lines(paths: list[Path]) -> int:
    """Count the lines of some files."""
    return sum(path.read_text(encoding="utf-8").count("\n") for path in paths)


def functions(paths: list[Path]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, FUNCTIONS):
                yield node


def quantiles(values: list[int]) -> str:
    """Give the median, the 95th percentile and the maximum."""
    cut = statistics.quantiles(values, n=20)
    return f"{statistics.median(values):g} / {cut[-1]:.0f} / {max(values)}"


def options(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of parameters of each command in a module of the CLI.

    A command is a function that takes --debug, as all of them do.
    """
    for function in functions([path]):
        names = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
        if "debug" in names and not function.name.startswith("_"):
            yield function.name.strip("_").replace("_", "-"), len(names)


def measures(root: Path) -> list[tuple[str, str]]:
    """Give each measure and its value."""
    source = sorted((root / "src").rglob("*.py"))
    tests = sorted((root / "tests").rglob("*.py"))
    packages = Counter(path.parent.relative_to(root / "src").as_posix() for path in source)
    largest = sorted(((lines([path]), path.stem) for path in source), reverse=True)
    every = list(functions(source))
    lengths = [(f.end_lineno or f.lineno) - f.lineno + 1 for f in every]
    documented = [f for f in every if ast.get_docstring(f) or f.name.startswith("_")]
    commands = dict(item for path in source if "cli" in path.parts for item in options(path))
    return [
        ("lines of source", f"{lines(source):,}"),
        ("lines of tests", f"{lines(tests):,}"),
        ("tests / source", f"{lines(tests) / lines(source):.2f}"),
        ("modules", str(len(source))),
        ("modules of the largest packages", of_each(packages.most_common(6))),
        ("modules above 300 lines", of_each((name, n) for n, name in largest if n > 300) or "none"),
        ("functions", str(len(every))),
        ("lines of a function: median / p95 / max", quantiles(lengths)),
        ("public functions with a docstring", f"{len(documented) / len(every):.1%}"),
        ("parameters of each command", of_each(sorted(commands.items(), key=lambda c: -c[1]))),
    ]


def of_each(counts: Iterable[tuple[str, int]]) -> str:
    """Join names and their numbers."""
    return ", ".join(f"{name} {number}" for name, number in counts)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1])
    print("| measure | value |\n|---|---|")
    for name, value in measures(parser.parse_args().folder):
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()

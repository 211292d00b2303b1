"""Write docs/cli.md from the commands themselves: their docstrings, options and config classes.

    python scripts/write_cli_docs.py            write docs/cli.md
    python scripts/write_cli_docs.py --check    exit code 1 when docs/cli.md is not current

Run it after every change of a command, an option or a config field. A test runs the check.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from luna.cli.app import app
from luna.data.prep.config import PrepConfig
from luna.detect.config import DiagnoseConfig
from luna.evaluate.cohort import CohortConfig
from luna.evaluate.network import ValidateConfig
from luna.phantom.config import PhantomConfig
from luna.run.config import dump_config
from luna.score.evaluation import ScoreConfig
from luna.train.recipes import ClassifierRecipe, SegmenterRecipe

DOCS = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 100

CONFIGS: dict[str, type] = {
    "luna diagnose": DiagnoseConfig,
    "luna prep": PrepConfig,
    "luna train-seg": SegmenterRecipe,
    "luna train-cls": ClassifierRecipe,
    "luna evaluate": CohortConfig,
    "luna score": ScoreConfig,
    "luna validate": ValidateConfig,
    "luna phantom": PhantomConfig,
    "luna serve": DiagnoseConfig,
}
"""The config class of every command that has `--config`."""

SHARED = {
    "--out": "the folder for the results",
    "--force": "write into a folder that already holds files",
    "--dry-run": "read and check everything, and say what would be done; compute and write nothing",
    "--config": "a TOML file that holds what differs from the defaults, or the name of a config "
    "that luna ships (`--config cls`)",
    "--set": "`key=value` with a dotted key and a TOML value, over the file; text needs no quotes; "
    "repeatable",
    "--print-config": "print the config in force as TOML and leave; needs no other argument",
    "--device": "`auto`, `cpu`, `cuda`, `cuda:N` or `mps` (Apple); a named device that is absent "
    "is an error, only `auto` falls back to the CPU",
    "--workers": "processes at work",
    "--threads": "threads that each process computes with; without it all cores, or what "
    "`OMP_NUM_THREADS` says",
    "--weights": "networks: bundles, `.state` files of the book, folders of them, or the words "
    "`book` and `shipped`; repeatable; without it luna's own",
    "--faithful": "compute as the book's code does, whatever the config says",
    "--age": "the patient's age in years, where DICOM has none or another one",
    "--sex": "`F` or `M`, where DICOM has none or another one",
    "--risk": "`low` or `high`: of lung cancer, as the Fleischner Society means it",
    "--smoker": "the patient smokes or smoked; `--no-smoker`: never did",
    "--family-history": "lung cancer in the family; `--no-family-history`: none",
    "--emphysema": "emphysema on CT, as a reader says; `--no-emphysema`: none",
    "--cancer": "a known cancer; `--no-cancer`: none",
    "--json": "print one JSON document to stdout and nothing else there",
    "--quiet": "no progress and no notes on stderr; warnings and errors stay",
    "--debug": "print the traceback of an error before its message",
}
"""The options that mean the same in every command."""

HEAD = """\
# The command line

<!-- Written by scripts/write_cli_docs.py from the commands: change those, then run it. -->

`luna COMMAND --help` prints the same options. This page also says what holds for all commands.

## Exit codes

| code | meaning |
|---|---|
| 0 | done; also: looked, and found nothing |
| 1 | a bug in luna |
| 2 | usage: the command line or the config |
| 3 | the input data: damaged, ambiguous, or not a chest CT |
| 4 | the machine: device, disk, permissions, memory; also output that cannot be written |
| 5 | some of a batch failed; the list says which |
| 6 | weights, checkpoint or cache not trusted or not fitting |
| 7 | training diverged |
| 129 | hung up: the terminal has gone (SIGHUP) |
| 130 | interrupted (Ctrl-C) |
| 141 | the program that read luna's output has gone, as in `luna … \\| head -1` |
| 143 | terminated (SIGTERM) |

An error is one message on stderr: what, in which file, why; then a blank line and what to do.

```
error: report: this folder already holds files

hint: choose another --out folder, or --force to write into this one
```

Data goes to stdout; progress, notes, warnings and errors go to stderr. Without a terminal,
tables are lines with tabs between the cells, and progress is a line for each stage. `NO_COLOR` is
honoured. `luna --install-completion` sets up completion for your shell.

## Options that mean the same everywhere

A command has those of them that it can honour.

| option | meaning |
|---|---|
"""


def main() -> int:
    """Write the page, or compare it with what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = page()
    if not check:
        DOCS.write_text(text, encoding="utf-8")
    elif DOCS.read_text(encoding="utf-8") != text:
        print(f"{DOCS} is not current: run scripts/write_cli_docs.py", file=sys.stderr)
        return 1
    return 0


def page() -> str:
    """The whole of docs/cli.md."""
    shared = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in SHARED.items())
    sections = (section(name, command) for name, command in commands(root()))
    return HEAD + shared + "\n## Commands\n" + "".join(sections)


def root() -> Any:
    """The tree of commands."""
    return typer.main.get_command(app)


def commands(command: Any, name: str = "luna") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    subcommands = getattr(command, "commands", {})
    for own, sub in subcommands.items():
        yield from commands(sub, f"{name} {own}")
    if not subcommands:
        yield name, command


def section(name: str, command: Any) -> str:
    """One command: what it does, its own options, the shared ones, and the keys of its config."""
    own, shared = [], []
    for item in command.params:
        long = next((option for option in item.opts if option.startswith("--")), None)
        if long in SHARED:
            shared.append(f"`{long}`")
        elif long != "--help":
            own.append(f"| {signature(item)} | {sentence(item.help)} |\n")
    text = f"\n### {name}\n\n{prose(inspect.getdoc(command.callback) or '')}"
    if own:
        text += "\n| option | meaning |\n|---|---|\n" + "".join(own)
    if shared:
        text += "\n" * bool(own) + fill(f"Shared options: {', '.join(shared)}.")
    return text + (key_table(CONFIGS[name]) if name in CONFIGS else "")


def signature(item: Any) -> str:
    """An argument in capitals, or an option with its other names."""
    if item.param_type_name == "argument":
        return f"`{(item.metavar or item.name).upper()}`"
    return ", ".join(f"`{option}`" for option in item.opts)


def sentence(text: str) -> str:
    """A help text for a table cell."""
    return text.replace("|", "\\|").removesuffix(".")


def prose(docstring: str) -> str:
    """A docstring as Markdown: paragraphs filled, commands below "Examples:" as code."""
    text, examples = "", []
    for block in docstring.split("\n\n"):
        joined = " ".join(block.split())
        if block.startswith("  ") and joined.startswith(("luna ", "torchrun ")):
            examples.append(joined)
        elif joined not in {"Example:", "Examples:"}:
            text += fill(joined) + "\n"
    if examples:
        text += "```\n" + "\n".join(map(code, examples)) + "\n```\n"
    return text


def code(command: str) -> str:
    """One command, over several lines where it is long."""
    lines = textwrap.wrap(
        command, WIDTH - 2, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
    )
    return " \\\n".join(lines)


def fill(text: str) -> str:
    """A paragraph in lines of at most WIDTH characters."""
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False) + "\n"


def key_table(config: type) -> str:
    """The keys of a config class with their defaults and what they mean."""
    meanings = dict(documented(config))
    rows = "".join(
        f"| `{key}` | `{value}` | {meanings[key]} |\n" for key, value in defaults(config())
    )
    return "\n| config key | default | meaning |\n|---|---|---|\n" + rows


def defaults(config: Any) -> Iterator[tuple[str, str]]:
    """Every dotted key with its default as TOML."""
    place = ""
    for line in filter(None, dump_config(config).splitlines()):
        if line.startswith("["):
            place = f"{line.strip('[]')}."
        else:
            key, _, value = line.partition(" = ")
            yield place + key, value


def documented(config: type, place: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted key with the docstring below its field, and the choices of a Literal."""
    hints = get_type_hints(config)
    docstrings = field_docstrings(config)
    for item in fields(config):
        hint = hints[item.name]
        if is_dataclass(hint):
            yield from documented(hint, f"{place}{item.name}.")  # type: ignore[arg-type]
        else:
            yield place + item.name, sentence(docstrings[item.name]) + choices(hint)


def choices(hint: Any) -> str:
    """The values of a Literal, for the end of a cell."""
    if get_origin(hint) is not Literal:
        return ""
    return "; one of " + ", ".join(f"`{value}`" for value in get_args(hint))


def field_docstrings(config: type) -> dict[str, str]:
    """The string below each field of a dataclass, on one line, of its bases too."""
    found: dict[str, str] = {}
    for cls in reversed([cls for cls in config.__mro__ if is_dataclass(cls)]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        body = getattr(definition, "body", [])
        for field, below in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                found[ast.unparse(field.target)] = " ".join(ast.literal_eval(below.value).split())
    return found


if __name__ == "__main__":
    sys.exit(main())

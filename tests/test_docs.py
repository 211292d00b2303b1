"""What README and docs say holds: lines, links, paths, commands and their options."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import luna
from luna.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("scripts/*.md")],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)
SCRIPTS = sorted(ROOT.glob("scripts/*.sh"))
LINE_CHARACTERS_MAX = 100

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


@by_page
def test_lines_are_short(page: Path) -> None:
    """Rows of tables cannot be broken."""
    lines = page.read_text(encoding="utf-8").splitlines()
    long = [
        f"{number}: {line}"
        for number, line in enumerate(lines, start=1)
        if len(line) > LINE_CHARACTERS_MAX and not line.startswith("|")
    ]
    assert long == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown renderers name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text).strip().lower().replace(" ", "-") for text in headings}


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@by_page
def test_paths_of_the_repository_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|docs|scripts|tests|examples|\.github)/[\w./-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def command_lines(text: str) -> Iterator[str]:
    """The luna commands in the code blocks and code spans of a page, each on one line."""
    for block in re.findall(r"^```(?:\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        joined = re.sub(r"\\\n\s*", "", block)
        for line in joined.splitlines():
            found = re.match(r"(?:\$ )?(?:\.venv/bin/)?(luna (?:[a-z-]+).*)", line)
            if found:
                yield found[1]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`(luna [^`]+)`", prose):
        yield re.sub(r"\s+", " ", span)


def unknown_in(line: str) -> list[str]:
    """The words of a command line that name no command or no option of it."""
    words = re.split(r" #| \\?\| ", line)[0].replace("…", " ").split()[1:]
    if words and words[0].isupper():  # `luna COMMAND --help`
        return []
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        word = words.pop(0)
        if word not in command.commands:
            return [word]
        command = command.commands[word]
    known = {name for item in command.params for name in [*item.opts, *item.secondary_opts]} | {
        "--help"
    }
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


@by_page
def test_commands_have_the_options_that_pages_give_them(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # tells of commands that were
    lines = list(command_lines(page.read_text(encoding="utf-8")))
    assert {line: unknown_in(line) for line in lines if unknown_in(line)} == {}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_commands_have_the_options_that_scripts_give_them(script: Path) -> None:
    text = re.sub(r"\\\n\s*", "", script.read_text(encoding="utf-8"))
    command = r'^(?:[^#\n"]|"[^"\n]*")*?\b(luna [a-z][a-z-]*(?: [^\n;|]*)?)'
    lines = re.findall(command, text, flags=re.MULTILINE)
    assert {line: unknown_in(line) for line in lines if unknown_in(line)} == {}


def test_the_site_has_every_page_and_its_index_names_them() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in ROOT.glob("docs/*.md")}
    assert set(re.findall(r": ([\w-]+\.md)$", config, flags=re.MULTILINE)) == pages
    assert {*re.findall(r"^\| \[.*?\]\((.*?)\)", index, flags=re.MULTILINE), "index.md"} == pages


def test_the_index_of_scripts_names_every_script() -> None:
    index = (ROOT / "scripts" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([\w.]+)` \|", index, flags=re.MULTILINE))
    assert named == {path.name for path in ROOT.glob("scripts/*") if path.suffix in (".py", ".sh")}


def test_the_citation_names_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {luna.__version__}\n" in citation

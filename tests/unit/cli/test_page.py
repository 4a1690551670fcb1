"""docs/command-line.md has every command and option, and no other."""

import re
from collections.abc import Iterator
from typing import Final

import click

from rerank_proxy.cli import main
from rerank_proxy.settings import table
from tests.support.project import ROOT

PAGE: Final = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
OF_SETTINGS: Final = {row.option for row in table() if row.option is not None}
SHARED: Final = "rerank-proxy endpoints"
"""The group whose section has the options that all of its commands have."""


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and those below it, by their names."""
    yield name, command
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from commands(each, f"{name} {each.name}")


COMMANDS: Final = dict(commands(main, "rerank-proxy"))


def sections() -> dict[str, str]:
    """The sections of the page by their headings; what is before them has none."""
    head, *parts = re.split(r"^#{2,3} ", PAGE, flags=re.MULTILINE)
    return {"": head} | {part.partition("\n")[0].strip("`"): part for part in parts}


SECTIONS: Final = sections()


def told(section: str) -> set[str]:
    """The options in the first columns of a section's tables."""
    return set(re.findall(r"^\| `(--[a-z-]+)` \|", SECTIONS[section], flags=re.MULTILINE))


def options(command: click.Command) -> set[str]:
    """The options of a command but for those of settings."""
    names = {name for each in command.params for name in each.opts if name.startswith("--")}
    return names - OF_SETTINGS


CLIENTS: Final = {name for name, command in COMMANDS.items() if "--url" in options(command)}
"""Commands that ask a running proxy. The page tells of their common options once, in the section `SHARED`."""


def test_each_command_has_a_section() -> None:
    headings = {heading for heading in SECTIONS if heading.startswith("rerank-proxy")}
    assert headings == COMMANDS.keys()


def test_each_option_has_a_row() -> None:
    for name, command in COMMANDS.items():
        if isinstance(command, click.Group) and name == SHARED:
            common = set.intersection(*(options(each) for each in command.commands.values()))
            assert told(name) == common - told("")
            continue
        known = told("") | (told(SHARED) if name in CLIENTS else set())
        assert told(name) - known == options(command) - known, name
        if name.startswith(SHARED):
            assert told(SHARED) <= options(command)


def test_options_of_settings_are_those_of_the_commands_that_it_names() -> None:
    having = {
        name
        for name, command in COMMANDS.items()
        if {n for p in command.params for n in p.opts} >= OF_SETTINGS
    }
    assert having == {f"rerank-proxy {name}" for name in ("serve", "check", "settings")}
    assert "`serve`, `check` and `settings` also take every setting" in SECTIONS[""]
    reading = {name for name, command in COMMANDS.items() if "--config" in options(command)}
    assert reading == having | CLIENTS | {f"rerank-proxy {name}" for name in ("rerank", "export")}


def test_whatever_option_is_mentioned_is_one() -> None:
    known = {name for command in COMMANDS.values() for each in command.params for name in each.opts} | {
        "--help"
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) <= known

"""The help: in groups, in the form that the output takes; and what shells complete."""

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from rich.text import Text

from rerank_proxy import __version__
from rerank_proxy.cli import help as helping
from rerank_proxy.cli import main
from rerank_proxy.cli.help import BASICS, HELP_ALL, OTHERS, first_sentence, groups_of
from rerank_proxy.settings import table
from tests.support.raw_http import TIMEOUT_S
from tests.unit.cli.test_page import COMMANDS


def context(name: str) -> click.Context:
    return click.Context(COMMANDS[name], info_name=name.split()[-1])


def longest_help(name: str) -> str:
    return "--help-all" if HELP_ALL in COMMANDS[name].params else "--help"


def plain(name: str, option: str, width: int = 200) -> str:
    return CliRunner().invoke(main, [*name.split()[1:], option], terminal_width=width).stdout


def on_a_terminal(name: str, option: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(helping, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    return CliRunner().invoke(main, [*name.split()[1:], option], color=True).stdout


@pytest.mark.parametrize("command", ["serve", "check", "settings"])
def test_each_setting_is_in_the_group_of_its_section(command: str) -> None:
    groups = groups_of(COMMANDS[f"rerank-proxy {command}"], context(f"rerank-proxy {command}"))
    first, *_, last = groups
    assert (first, last) == (BASICS, OTHERS)
    basics = {name for each in groups[BASICS] for name in each.opts}
    assert basics >= {
        "--config",
        "--secrets-dir",
        "--listen",
        "--upstream",
        "--model",
        "--endpoint",
        "--log-level",
    }
    for row in table():
        if row.option is not None and row.option not in basics:
            (group,) = [
                group for group, options in groups.items() if row.option in str([o.opts for o in options])
            ]
            assert group.startswith(f"{row.path[0]}: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_shown_in_both_forms(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = COMMANDS[name]
    option = longest_help(name)
    colourless, coloured = plain(name, option), on_a_terminal(name, option, monkeypatch)
    assert "\x1b[" not in colourless
    assert "\x1b[" in coloured
    shown = " ".join(Text.from_ansi(coloured).plain.split())
    for group, options in groups_of(command, context(name)).items():
        if options:
            assert f"\n{group}:\n" in colourless
            assert f"{' '.join(group.split())[:60]}" in shown
        for each in options:
            for option in each.opts[-1:]:
                assert re.search(rf"^ +(?:-\w, )?{option}\b(?!-)", colourless, re.MULTILINE), option
                assert re.search(rf" {option}\b(?!-)", shown), option
    for below in command.commands if isinstance(command, click.Group) else ():
        assert f"\n  {below} " in colourless
        assert f" {below} " in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_fits_a_terminal_of_80_columns(name: str) -> None:
    """Examples too, which are not wrapped."""
    assert [line for line in plain(name, "--help", 80).splitlines() if len(line) > 80] == []


def test_the_help_of_all_settings_fits_on_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve --help` has the basics, and names the sections of all others."""
    name = "rerank-proxy serve"
    colourless, coloured = plain(name, "--help", 110), on_a_terminal(name, "--help", monkeypatch)
    assert len(colourless.splitlines()) <= 50
    shown = Text.from_ansi(coloured).plain
    sections = {row.path[0] for row in table() if row.option is not None and len(row.path) > 1}
    for text in (colourless, shown):
        for option in ("--config", "--listen", "--upstream", "--model", "--help-all"):
            assert re.search(rf"^\W+{option} ", text, re.MULTILINE), option
        assert "--engine-workers" not in text
        assert set(re.findall(r"^  ([a-z_]+)  ", text, re.MULTILINE)) == sections
        assert "rerank-proxy serve --upstream http://localhost:9200" in text


@pytest.mark.parametrize("command", ["serve", "check"])
def test_the_whole_help_mentions_every_setting(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help-all"], terminal_width=200)  # breaks no name in two
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    for row in table():
        if row.option is not None:
            assert f"{row.option} {row.path[-1].upper()} {first_sentence(row.description)}." in text
    for option in ("--config", "--model", "--endpoint", "RERANK_PROXY_CONFIG", "RERANK_PROXY_SECRETS_DIR"):
        assert option in text


def test_help_of_the_whole() -> None:
    text = plain("rerank-proxy", "--help")
    for command in ("serve", "check", "rerank"):
        assert f"\n  {command} " in text
    assert "rerank-proxy serve --upstream http://localhost:9200" in text
    assert plain("rerank-proxy", "--version") == f"rerank-proxy, version {__version__}\n"


def test_help_of_rerank() -> None:
    text = plain("rerank-proxy rerank", "--help")
    for option in ("--query", "--model", "--config", "--raw", "[TEXT]... | -"):
        assert option in text


def test_the_help_of_all_settings_needs_none_of_them() -> None:
    shown = CliRunner().invoke(main, ["serve", "--help-all", "--config", "/nowhere.yaml"])
    assert shown.exit_code == 0
    assert "--engine-workers" in shown.stdout


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("COLUMNS", "80")])
def test_terminals_that_get_the_plain_form(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    assert "\x1b[" in on_a_terminal("rerank-proxy", "--help", monkeypatch)
    monkeypatch.setenv(variable, value)
    assert "\x1b[" not in main.get_help(context("rerank-proxy"))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One.", "One"),
        ("One, e.g. this. Two.", "One, e.g. this"),
        ("`a.b` and 1.2 s. `c` too.", "`a.b` and 1.2 s"),
        ("", ""),
    ],
)
def test_first_sentences(text: str, first: str) -> None:
    assert first_sentence(text) == first


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as it is installed."""
    path = tmp_path_factory.mktemp("bin") / "rerank-proxy"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m rerank_proxy "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def completed(shell: str, words: list[str], incomplete: str) -> list[str]:
    cursor = incomplete if shell == "fish" else str(len(words))
    environ = {
        "_RERANK_PROXY_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join([*words, *([incomplete] if incomplete else [])]),
        "COMP_CWORD": cursor,
    }
    return CliRunner().invoke(main, prog_name="rerank-proxy", env=environ).stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_shells_complete(shell: str) -> None:
    assert "endpoints" in " ".join(completed(shell, ["rerank-proxy"], "end"))
    assert "--upstream-ca-certs" in " ".join(completed(shell, ["rerank-proxy", "serve"], "--upstream-ca-c"))
    choices = " ".join(completed(shell, ["rerank-proxy", "serve", "--registry-store"], ""))
    assert all(choice in choices for choice in ("file", "index", "none"))
    assert "file" in " ".join(completed(shell, ["rerank-proxy", "serve", "--tls-cert"], "/et"))


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_are_for_this_program(shell: str) -> None:
    script = CliRunner().invoke(
        main, prog_name="rerank-proxy", env={"_RERANK_PROXY_COMPLETE": f"{shell}_source"}
    )
    assert f"_RERANK_PROXY_COMPLETE={shell}_complete" in script.stdout


def test_bash_completes(program: Path) -> None:
    """The line that the page has, in a real shell."""
    bash = shutil.which("bash")
    assert bash is not None
    commands = (
        'eval "$(_RERANK_PROXY_COMPLETE=bash_source rerank-proxy)"; COMP_WORDS=(rerank-proxy endpoints g); '
        'COMP_CWORD=2; _rerank_proxy_completion rerank-proxy; printf "%s\\n" "${COMPREPLY[@]}"; '
        "complete -p rerank-proxy"
    )
    shown = subprocess.run(
        [bash, "--norc", "-c", commands],
        env={"PATH": f"{program.parent}:/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    first, *rest = shown.stdout.splitlines()
    assert first == "get"
    assert "_rerank_proxy_completion" in rest[-1]


def test_a_pipe_that_is_closed_is_nothing_to_speak_of(program: Path) -> None:
    """`rerank-proxy settings | head -1`, whose reader is gone."""
    with subprocess.Popen(
        [program, "settings"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(TIMEOUT_S) == 1

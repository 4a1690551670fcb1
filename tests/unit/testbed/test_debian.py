"""Programs of Debian packages: from this machine, from the cache, or fetched by apt-get."""

from pathlib import Path

import pytest

from testbed.chromium import chromium
from testbed.debian import debian_program
from testbed.errors import TestbedError


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory with commands, besides those of the shell."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    return directory


def command(directory: Path, name: str, script: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


APT = 'echo "$2" > "$2_1.0_all.deb"'
DPKG = '/bin/mkdir -p "$3/usr/bin"; read name < "$2"; echo "$name" > "$3/usr/bin/tool"'


def test_a_program_of_this_machine_is_used(commands: Path) -> None:
    installed = command(commands, "tool", "")
    assert debian_program("tool", "tools") == installed


def test_a_package_is_fetched_once(commands: Path, tmp_path: Path) -> None:
    command(commands, "apt-get", APT)
    command(commands, "dpkg-deb", DPKG)
    program = debian_program("tool", "tools")
    assert program == tmp_path / "cache" / "tools" / "usr" / "bin" / "tool"
    assert program.read_text() == "tools\n"
    assert not list((tmp_path / "cache" / "tools").glob("*.deb"))
    command(commands, "apt-get", "exit 1")
    assert debian_program("tool", "tools") == program


@pytest.mark.parametrize(
    ("apt", "told"),
    [
        (None, "there is no apt-get to fetch tools with: install it as your system does"),
        ("echo E: no such package >&2; exit 100", "E: no such package; run `apt-get update`, or install it"),
        ("", "apt-get did not download tools"),
    ],
)
def test_what_cannot_be_fetched_is_explained(
    commands: Path, tmp_path: Path, apt: str | None, told: str
) -> None:
    command(commands, "dpkg-deb", DPKG)
    if apt is not None:
        command(commands, "apt-get", apt)
    with pytest.raises(TestbedError, match=told):
        debian_program("tool", "tools")
    assert not (tmp_path / "cache" / "tools").exists()


def test_a_package_without_the_program(commands: Path) -> None:
    command(commands, "apt-get", APT)
    command(commands, "dpkg-deb", DPKG)
    with pytest.raises(TestbedError, match="has no other: install it"):
        debian_program("other", "tools")


PLAN = "Inst libneeded (1.0 Debian:12/stable [all])\\nInst chromium (2.0 Debian:12/stable [amd64])"
MANY = f"""if [ "$1" = --simulate ]; then printf '{PLAN}\\n'; exit; fi
shift; for name in "$@"; do echo "$name" > "${{name}}_1.0_all.deb"; done"""
UNPACK = """/bin/mkdir -p "$3/usr/lib/chromium" "$3/usr/lib/needed"; read name < "$2"
if [ "$name" = chromium ]; then echo > "$3/usr/lib/chromium/chromium"; exit; fi
echo > "$3/usr/lib/needed/libneeded.so.1"
"""


def test_a_browser_comes_with_the_libraries_that_are_lacking(commands: Path, tmp_path: Path) -> None:
    command(commands, "apt-get", MANY)
    command(commands, "dpkg-deb", UNPACK)
    browser = chromium()
    tree = tmp_path / "cache" / "chromium-tree"
    assert browser.program == tree / "usr/lib/chromium/chromium"
    assert browser.environment == {"LD_LIBRARY_PATH": str(tree / "usr/lib/needed")}


def test_a_browser_of_this_machine_is_used(commands: Path) -> None:
    installed = command(commands, "chromium", "")
    assert chromium().program == installed


def test_a_tree_without_a_browser(commands: Path) -> None:
    command(commands, "apt-get", MANY)
    command(commands, "dpkg-deb", "")
    with pytest.raises(TestbedError, match="has no chromium: install it"):
        chromium()

"""Programs of other projects in environments of their own, made once and kept in the cache of the testbed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from testbed import Reporter
from testbed.cache import cache_directory, cached_directory
from tests.support.project import ROOT

CLIENTS: Final[Mapping[str, str]] = {
    "8.15.1": "8.19.0",
    "8.17.2": "8.19.0",
    "8.19.3": "8.19.0",
    "9.1.3": "9.4.2",
    "9.5.1": "9.4.2",
}
"""By version of elasticsearch-py, the version of elastic-transport that it is installed with."""


@dataclass(frozen=True)
class Environment:
    """A directory with programs.

    Attributes:
        name: What it is for.
        made_of: All that decides what will be in it; another text makes another directory.
        fill: Fills an empty directory, which is renamed thereafter.
    """

    name: str
    made_of: str
    fill: Callable[[Path], None]

    @property
    def directory(self) -> Path:
        digest = sha256(self.made_of.encode()).hexdigest()[:12]
        return cache_directory() / "clients" / f"{self.name}-{digest}"

    def made(self) -> Path:
        """Make the directory, unless it is there. Return it.

        Raises:
            TestbedError: The cache cannot be written.
            AssertionError: Something cannot be installed; with the installer's words.
        """
        reporter = Reporter()
        with reporter.step(f"Preparing {self.name}"):
            return cached_directory(self.directory, self.fill, reporter)


def python_with_client(version: str) -> Environment:
    """Return an environment whose `bin/python` has this version of the client.

    All else that it needs has the project's versions.
    """
    locked = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constraints = "\n".join(line for line in locked if not line.startswith("elastic"))
    wanted = (f"elasticsearch=={version}", f"elastic-transport=={CLIENTS[version]}", "aiohttp")

    def fill(directory: Path) -> None:
        file = directory / "constraints.txt"
        python = make_venv(directory)
        file.write_text(constraints)
        install(uv(), "pip", "install", "--quiet", "--python", python, "--constraints", file, *wanted)

    made_of = "\n".join((sys.version, constraints, *wanted))
    return Environment(f"elasticsearch-{version}", made_of, fill)


def python_with(*requirements: str) -> Environment:
    """Return an environment whose `bin/python` has these packages, and what they need.

    Args:
        requirements: With a version each; what they need has the newest versions that fit.
    """

    def fill(directory: Path) -> None:
        install(uv(), "pip", "install", "--quiet", "--python", make_venv(directory), *requirements)

    name = requirements[0].replace("==", "-")
    return Environment(name, "\n".join((sys.version, *requirements)), fill)


def make_venv(directory: Path) -> Path:
    """Make a virtual environment, which may be moved. Return its interpreter."""
    options = ("--quiet", "--allow-existing", "--relocatable")
    install(uv(), "venv", *options, "--python", sys.executable, directory)
    return directory / "bin" / "python"


def copy_of(
    source: Path,
    name: str,
    *commands: tuple[str | Path, ...],
    replaced: tuple[str, str] | None = None,
) -> Environment:
    """Return an environment that holds a copy of a directory, in which commands have been run.

    Args:
        replaced: A text, and what stands in its place in all files of the copy.
    """
    files = sorted(file for file in source.rglob("*") if file.is_file())
    old, new = replaced or ("", "")
    contents = {
        file.relative_to(source): file.read_text(encoding="utf-8").replace(old, new) for file in files
    }
    texts = (f"{file}\n{content}" for file, content in contents.items())

    def fill(directory: Path) -> None:
        shutil.copytree(source, directory, dirs_exist_ok=True)
        for file, content in contents.items():
            (directory / file).write_text(content, encoding="utf-8")
        for command in commands:
            install(*command, cwd=directory)

    return Environment(name, "\n".join((*texts, repr(commands))), fill)


def needs(program: str) -> str:
    """Return the name of a program that has to be installed; skip the test where it is not."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return program


def uv() -> Path:
    return Path(sys.executable).with_name("uv")


def install(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command that installs something.

    Raises:
        AssertionError: It fails; with what it said.
    """
    run = subprocess.run(command, cwd=cwd, env=clean_environ(), capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{' '.join(map(str, command))}\n{run.stdout}{run.stderr}"


def clean_environ() -> Mapping[str, str]:
    """Return this process's environment less what would slow other programs down or lead them elsewhere."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "ES_URL")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def packages(*requirements: str) -> Environment:
    """Return an environment with these packages, without what they depend on; for `PYTHONPATH`.

    Args:
        requirements: With a version each.
    """

    def fill(directory: Path) -> None:
        where = ("--python", sys.executable, "--target", directory)
        install(uv(), "pip", "install", "--quiet", "--no-deps", *where, *requirements)

    return Environment("+".join(requirements), "\n".join((sys.version, *requirements)), fill)

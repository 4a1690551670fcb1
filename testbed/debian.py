"""Programs of Debian's packages, unpacked into the cache: nothing is installed, and no one has to be root."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from testbed.cache import cache_directory, cached_directory
from testbed.errors import TestbedError
from testbed.progress import Reporter

_TIMEOUT_S: Final = 300
_PLACES: Final = ("usr/bin", "usr/sbin")
_WANTED: Final = re.compile(r"^Inst (\S+) ", re.MULTILINE)


def debian_program(name: str, package: str, reporter: Reporter | None = None) -> Path:
    """Return the path of a program: that of this machine, or else that of a Debian package.

    Only the package itself is unpacked: what it depends on has to be there.

    Raises:
        TestbedError: There is neither; the message says how to get it.
    """
    if (found := shutil.which(name)) is not None:
        return Path(found)
    directory = cached_directory(
        cache_directory() / package, lambda target: _unpack([package], target), reporter or Reporter()
    )
    for place in _PLACES:
        if (program := directory / place / name).is_file():
            return program
    raise TestbedError(f"{directory} has no {name}: install it, or remove that directory and try again")


def debian_tree(package: str, reporter: Reporter | None = None) -> Path:
    """Return a directory with the files of a package, and of all that it needs and this machine lacks.

    What is in it looks for its libraries where they would be installed: who starts it has to say where they
    are.

    Raises:
        TestbedError: It cannot be fetched; the message says how to get it.
    """

    def unpack(target: Path) -> None:
        _check_tools(package)
        # Which packages that takes is found out by installing it for show, which takes no rights.
        plan = _run("apt-get", "--simulate", "--no-install-recommends", "install", package, cwd=target)
        _unpack(_WANTED.findall(plan) or [package], target)

    return cached_directory(cache_directory() / f"{package}-tree", unpack, reporter or Reporter())


def _unpack(packages: Sequence[str], target: Path) -> None:
    _check_tools(packages[0])
    _run("apt-get", "download", *packages, cwd=target)
    archives = list(target.glob("*.deb"))
    if len(archives) != len(packages):
        raise TestbedError(f"apt-get did not download {packages[0]}: install it as your system does")
    for archive in archives:
        _run("dpkg-deb", "-x", str(archive), str(target), cwd=target)
        archive.unlink()


def _check_tools(package: str) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise TestbedError(f"there is no apt-get to fetch {package} with: install it as your system does")


def _run(*command: str, cwd: Path) -> str:
    """Run a command, and return what it says."""
    try:
        done = subprocess.run(
            command, cwd=cwd, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.CalledProcessError as failure:
        last = failure.stderr.strip().splitlines()[-1:] or [f"status {failure.returncode}"]
        raise TestbedError(
            f"{' '.join(command[:3])}: {last[0]}; run `apt-get update`, or install it"
        ) from None
    except subprocess.TimeoutExpired:
        raise TestbedError(f"{' '.join(command[:3])} took more than {_TIMEOUT_S} s: try again") from None
    return done.stdout

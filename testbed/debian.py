"""Programs of Debian's packages, unpacked into the cache: nothing is installed, and no one has to be root."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from testbed.cache import cache_directory, cached_directory
from testbed.errors import TestbedError
from testbed.progress import Reporter

_TIMEOUT_S: Final = 300
_PLACES: Final = ("usr/bin", "usr/sbin")


def debian_program(name: str, package: str, reporter: Reporter | None = None) -> Path:
    """Return the path of a program: that of this machine, or else that of a Debian package.

    Only the package itself is unpacked: what it depends on has to be there.

    Raises:
        TestbedError: There is neither; the message says how to get it.
    """
    if (found := shutil.which(name)) is not None:
        return Path(found)
    directory = cached_directory(
        cache_directory() / package, lambda target: _unpack(package, target), reporter or Reporter()
    )
    for place in _PLACES:
        if (program := directory / place / name).is_file():
            return program
    raise TestbedError(f"{directory} has no {name}: install it, or remove that directory and try again")


def _unpack(package: str, target: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise TestbedError(f"there is no apt-get to fetch {package} with: install it as your system does")
    _run("apt-get", "download", package, cwd=target)
    archives = list(target.glob("*.deb"))
    if len(archives) != 1:
        raise TestbedError(f"apt-get did not download {package}: install it as your system does")
    _run("dpkg-deb", "-x", str(archives[0]), str(target), cwd=target)
    archives[0].unlink()


def _run(*command: str, cwd: Path) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.CalledProcessError as failure:
        last = failure.stderr.strip().splitlines()[-1:] or [f"status {failure.returncode}"]
        raise TestbedError(
            f"{' '.join(command[:3])}: {last[0]}; run `apt-get update`, or install it"
        ) from None
    except subprocess.TimeoutExpired:
        raise TestbedError(f"{' '.join(command[:3])} took more than {_TIMEOUT_S} s: try again") from None

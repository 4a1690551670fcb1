"""Other people's packages for tests, installed once and kept in the cache of the testbed."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

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
"""By version, the version of elastic-transport that it is installed with."""


def python_with_client(version: str, reporter: Reporter) -> Path:
    """An interpreter that has this version of the client; all else that it needs has the project's versions.

    Raises:
        TestbedError: The cache cannot be written.
        subprocess.CalledProcessError: It cannot be installed; uv has said why.
    """
    python = ".".join(map(str, sys.version_info[:2]))
    target = cache_directory() / "clients" / f"elasticsearch-{version}-python{python}"

    def fill(directory: Path) -> None:
        uv = Path(sys.executable).with_name("uv")
        locked = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
        constraints = directory / "constraints.txt"
        wanted = [f"elasticsearch=={version}", f"elastic-transport=={CLIENTS[version]}"]
        _run(uv, "venv", "--allow-existing", "--python", sys.executable, directory)
        constraints.write_text("\n".join(line for line in locked if not line.startswith("elastic")))
        interpreter = directory / "bin" / "python"
        _run(uv, "pip", "install", "--python", interpreter, "--constraints", constraints, *wanted)

    with reporter.step(f"Preparing elasticsearch-py {version}"):
        cached_directory(target, fill, reporter)
    return target / "bin" / "python"


def packages(*requirements: str, reporter: Reporter) -> Path:
    """Return a directory with these packages, without what they depend on; for `PYTHONPATH`.

    Args:
        requirements: With a version each.

    Raises:
        TestbedError: The cache cannot be written.
        subprocess.CalledProcessError: They cannot be installed; uv has said why.
    """
    python = ".".join(map(str, sys.version_info[:2]))
    target = cache_directory() / "packages" / f"{'+'.join(requirements)}-python{python}"

    def fill(directory: Path) -> None:
        uv = Path(sys.executable).with_name("uv")
        where = ("--python", sys.executable, "--target", directory)
        _run(uv, "pip", "install", "--no-deps", *where, *requirements)

    with reporter.step(f"Preparing {', '.join(requirements)}"):
        return cached_directory(target, fill, reporter)


def _run(*command: str | Path) -> None:
    subprocess.run([*command, "--quiet"], check=True)

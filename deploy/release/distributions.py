"""Build the source distribution and the wheel of a release, and check them.

    python -m deploy.release.distributions [--repository URL] [DIRECTORY]

They are built from the files that git knows, with the time of the last commit, so that the same commit gives
the same bytes. The wheel is built from the source distribution, and has to equal the one that the files give
directly.

With `--repository` they say where it is, by deploy/release/repository.py.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from deploy.release.repository import name_repository
from deploy.release.version import ROOT

CONSTRAINTS: Final = ROOT / "requirements" / "constraints.txt"
_GENERATED: Final = re.compile(r"(^|/)(PKG-INFO|setup\.cfg|[^/]+\.egg-info/.*)$")


class DistributionError(Exception):
    """What is wrong with what was built, for people."""


def tracked(root: Path = ROOT) -> list[str]:
    """Return the files of the project: those that git knows; of an unpacked distribution all."""
    if not (root / ".git").exists():
        files = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return sorted(file for file in files if "__pycache__" not in file and not _GENERATED.search(file))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True)
    return sorted(file for file in listed.stdout.split("\0") if file and (root / file).exists())


def export(target: Path, root: Path = ROOT) -> Path:
    """Copy the files of the project, and nothing else that lies in its directory. Return the copy."""
    for file in tracked(root):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / file, target / file)
    return target


def members(distribution: Path) -> list[str]:
    """Return the files of a source distribution, without its folder and what setuptools adds."""
    with tarfile.open(distribution) as archive:
        names = [member.name.partition("/")[2] for member in archive if member.isfile()]
    return sorted(name for name in names if not _GENERATED.search(name))


def build(source: Path, target: Path) -> list[Path]:
    """Build both distributions of a copy of the project. Return their files.

    Raises:
        DistributionError: Files are missing, or the two ways to a wheel lead to different ones.
        subprocess.CalledProcessError: uv cannot build them.
    """
    expected = tracked(source)
    _uv_build(source, target)
    (distribution,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    missing = sorted(set(expected) - set(members(distribution)))
    if missing:
        raise DistributionError("\n  ".join(["files that MANIFEST.in leaves out:", *missing]))
    with tempfile.TemporaryDirectory() as directory:
        _uv_build(source, Path(directory), "--wheel")
        (direct,) = Path(directory).glob("*.whl")
        if direct.read_bytes() != wheel.read_bytes():
            raise DistributionError(
                f"{wheel.name} differs from the one built without the source distribution"
            )
    return [distribution, wheel]


def _uv_build(source: Path, target: Path, *options: str) -> None:
    command = ["uv", "build", "--quiet", "--no-create-gitignore", "--out-dir", str(target), *options]
    environ = {"SOURCE_DATE_EPOCH": _last_commit(), **os.environ}
    subprocess.run(
        [*command, "--build-constraints", str(CONSTRAINTS), str(source)],
        check=True,
        env={**environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )


def _last_commit() -> str:
    """Return the time of the last commit in seconds; in an unpacked distribution, that of a file."""
    if not (ROOT / ".git").exists():
        return str(int((ROOT / "pyproject.toml").stat().st_mtime))
    command = ["git", "log", "-1", "--format=%ct"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def check(built: list[Path]) -> None:
    """Have the distributions checked by the tools that know what indexes of packages refuse.

    Raises:
        subprocess.CalledProcessError: A tool refuses one; it has said why.
    """
    python, wheel = sys.executable, built[-1]
    subprocess.run([python, "-m", "twine", "check", "--strict", *map(str, built)], check=True)
    subprocess.run([python, "-m", "check_wheel_contents", str(wheel)], check=True)
    subprocess.run([python, "-m", "validate_pyproject", str(ROOT / "pyproject.toml")], check=True)


def main() -> None:
    """Build, check, and say what was built."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.distributions")
    parser.add_argument("--repository", help="The address of the repository's page.")
    parser.add_argument("directory", nargs="?", type=Path, default=ROOT / "dist")
    given = parser.parse_args()
    shutil.rmtree(given.directory, ignore_errors=True)
    with tempfile.TemporaryDirectory() as directory:
        source = export(Path(directory))
        if given.repository:
            name_repository(source, given.repository)
        try:
            built = build(source, given.directory)
            check(built)
        except DistributionError as error:
            sys.exit(str(error))
    print(*built, sep="\n")


if __name__ == "__main__":
    main()

"""Find the Java Development Kits of this machine."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.accounts import Account, may_enter
from testbed.releases import Release

_PLACES = (
    "/usr/lib/jvm/*",
    "/usr/java/*",
    "/opt/java/*",
    "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "~/.sdkman/candidates/java/*",
    "~/.jdks/*",
)
"""The directories in which packages and version managers of Linux and macOS install JDKs."""


@dataclass(frozen=True, slots=True)
class Jdk:
    """A Java with a compiler."""

    home: Path
    major: int

    @property
    def javac(self) -> Path:
        return self.home / "bin" / "javac"

    def __str__(self) -> str:
        return f"JDK {self.major} ({self.home})"


def find_jdks(environ: Mapping[str, str] = os.environ, places: Iterable[str] | None = None) -> list[Jdk]:
    """Return all JDKs without repetition, those that the environment names first."""
    found: dict[Path, Jdk] = {}
    for home in _candidates(environ, _PLACES if places is None else places):
        home = home.resolve()
        if home not in found and (jdk := _read(home)) is not None:
            found[home] = jdk
    return list(found.values())


def best_jdk(jdks: Iterable[Jdk], release: Release, account: Account | None = None) -> Jdk | None:
    """Return the newest JDK that the release is known to run on and that the account may use.

    If there are only newer ones, the oldest of them is used.
    """
    usable = [jdk for jdk in jdks if jdk.major >= release.java_min and may_enter(jdk.home / "bin", account)]
    return max(
        usable,
        key=lambda jdk: (jdk.major <= release.java_tested, -abs(jdk.major - release.java_tested)),
        default=None,
    )


def _candidates(environ: Mapping[str, str], places: Iterable[str]) -> Iterator[Path]:
    for name in ("ES_JAVA_HOME", "JAVA_HOME"):
        if environ.get(name):
            yield Path(environ[name])
    if on_path := shutil.which("javac", path=environ.get("PATH", os.defpath)):
        yield Path(on_path).resolve().parent.parent
    if sys.platform == "darwin":
        yield from _macos_default()
    for pattern in places:
        expanded = Path(pattern).expanduser()
        yield from sorted(Path(expanded.anchor).glob(str(expanded.relative_to(expanded.anchor))))


def _macos_default() -> Iterator[Path]:
    try:
        run = subprocess.run(["/usr/libexec/java_home"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return
    if run.returncode == 0:
        yield Path(run.stdout.strip())


def _read(home: Path) -> Jdk | None:
    """Read the `release` file of a directory, which every JDK has since version 9.

    Running `java -version` would be slower, and opens a dialog on a macOS without Java.
    """
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    if match is None or not os.access(home / "bin" / "javac", os.X_OK):
        return None
    return Jdk(home, int(match[1]))

"""Chromium, for tests of pages: that of this machine, or Debian's, unpacked into the cache."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from testbed.debian import debian_tree
from testbed.errors import TestbedError
from testbed.progress import Reporter

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Chromium:
    """A browser.

    Attributes:
        program: What is started.
        environment: Variables that it needs beside those of this process.
    """

    program: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def chromium(reporter: Reporter | None = None) -> Chromium:
    """Return the browser.

    Raises:
        TestbedError: It is neither here nor to be had; the message says how to get it.
    """
    for name in _NAMES:
        if (found := shutil.which(name)) is not None:
            return Chromium(Path(found))
    return unpacked(debian_tree("chromium", reporter))


def unpacked(tree: Path) -> Chromium:
    """Return the browser of a directory that Debian's packages were unpacked into. Raises: TestbedError."""
    program = tree / "usr/lib/chromium/chromium"
    if not program.is_file():
        raise TestbedError(
            f"{tree} has no {program.name}: install it, or remove that directory and try again"
        )
    libraries = sorted({str(library.parent) for library in tree.glob("**/lib*.so*")})
    environment = {"LD_LIBRARY_PATH": ":".join(libraries)}
    if (tree / "etc/fonts/fonts.conf").is_file():
        environment["FONTCONFIG_SYSROOT"] = str(tree)
    return Chromium(program, environment)

"""The project's distributions, built as `pip` builds them."""

import subprocess
import sys
from pathlib import Path

from tests.support.raw_http import TIMEOUT_S

_BUILD = "import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"


def build_wheel(source: Path, target: Path) -> Path:
    """Build the package whose sources are in a directory, and return its wheel.

    Args:
        source: What is built leaves files there.
        target: Where the wheel is written.
    """
    return _build(source, target, "wheel", "*.whl")


def build_source_distribution(source: Path, target: Path) -> Path:
    """Build the source distribution of a directory, with the same arguments, and return it."""
    return _build(source, target, "sdist", "*.tar.gz")


def _build(source: Path, target: Path, kind: str, pattern: str) -> Path:
    command = [sys.executable, "-W", "ignore", "-c", _BUILD.format(kind=kind), str(target)]
    built = subprocess.run(
        command, cwd=source, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert built.returncode == 0, built.stderr
    (file,) = target.glob(pattern)
    return file

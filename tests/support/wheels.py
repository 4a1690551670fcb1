"""The project's wheel, built as `pip` builds it."""

import subprocess
import sys
from pathlib import Path

from tests.support.raw_http import TIMEOUT_S

_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def build_wheel(source: Path, target: Path) -> Path:
    """Build the package whose sources are in a directory, and return its wheel.

    Args:
        source: What is built leaves files there.
        target: Where the wheel is written.
    """
    command = [sys.executable, "-W", "ignore", "-c", _BUILD, str(target)]
    built = subprocess.run(
        command, cwd=source, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = target.glob("*.whl")
    return wheel

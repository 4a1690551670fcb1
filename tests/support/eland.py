"""Eland as it is published, in an environment of its own: it needs another transformers than the project.

Its torch is the project's: it is in the cache of uv already, and Eland's own pin would be gigabytes more.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.support.project import ROOT

_REQUIREMENTS: Final = ROOT / "requirements" / "eland.txt"
_VERSION: Final = next(
    line.partition("==")[2] for line in _REQUIREMENTS.read_text().splitlines() if line.startswith("eland==")
)


@dataclass(frozen=True)
class Run:
    """How a command ended: `output` is all that it wrote."""

    status: int
    output: str


@dataclass(frozen=True)
class Eland:
    """An environment with Eland in it."""

    directory: Path

    def import_hub_model(self, *arguments: str) -> Run:
        """`eland_import_hub_model ARGUMENTS`."""
        done = subprocess.run(
            [self.directory / "bin" / "eland_import_hub_model", *arguments],
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)


def installed() -> Eland:
    """Eland's environment, made when it is not there yet; that takes a minute.

    Raises:
        AssertionError: It cannot be made; with uv's words.
    """
    directory = ROOT / ".cache" / f"eland-{_VERSION}"
    torch = f"torch=={version('torch')}"
    made_of = directory / "made-of.txt"
    wanted = f"{_REQUIREMENTS.read_text()}{torch}\n{sys.version}\n"
    if made_of.exists() and made_of.read_text() == wanted:
        return Eland(directory)
    shutil.rmtree(directory, ignore_errors=True)
    overrides = directory / "overrides.txt"
    _run("uv", "venv", "--quiet", "--python", sys.executable, str(directory))
    overrides.write_text(torch)
    _run(
        "uv", "pip", "install", "--quiet", "--python", str(directory / "bin" / "python"),
        "--overrides", str(overrides), "--constraints", str(_REQUIREMENTS), f"eland[pytorch]=={_VERSION}",
    )  # fmt: skip
    # Importing it compiles what it needs of some hundred megabytes of Python.
    _run(str(directory / "bin" / "python"), "-c", "import eland.ml.pytorch.transformers")
    made_of.write_text(wanted)
    return Eland(directory)


def _run(program: str, *arguments: str) -> None:
    if program == "uv":
        program = str(Path(sys.executable).with_name("uv"))
    done = subprocess.run(
        [program, *arguments], env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{program} {' '.join(arguments)}\n{done.stdout}{done.stderr}"


def _environment() -> Mapping[str, str]:
    """Less what would slow it down or lead it elsewhere."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "ES_URL")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}

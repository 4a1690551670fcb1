"""Eland as it is published, in an environment of its own: it needs another transformers than the project.

Its torch is the project's: it is in the cache of uv already, and Eland's own pin would be gigabytes more.
"""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.clients.environments import Environment, clean_environ, install, make_venv, uv
from tests.support.project import ROOT

_REQUIREMENTS: Final = ROOT / "requirements" / "eland.txt"


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
        """Run `eland_import_hub_model ARGUMENTS`."""
        done = subprocess.run(
            [self.directory / "bin" / "eland_import_hub_model", *arguments],
            env={**clean_environ(), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)


def environment() -> Environment:
    """Return Eland's environment. To make it takes a minute."""
    requirements = _REQUIREMENTS.read_text(encoding="utf-8")
    (eland,) = (line for line in requirements.splitlines() if line.startswith("eland=="))
    torch = f"torch=={version('torch')}"

    def fill(directory: Path) -> None:
        overrides = directory / "overrides.txt"
        python = make_venv(directory)
        overrides.write_text(torch)
        install(
            *(uv(), "pip", "install", "--quiet", "--python", python),
            *("--overrides", overrides, "--constraints", _REQUIREMENTS, eland.replace("==", "[pytorch]==")),
        )
        # Importing it compiles what it needs of some hundred megabytes of Python.
        install(python, "-c", "import eland.ml.pytorch.transformers")

    return Environment(eland.replace("==", "-"), f"{requirements}{torch}\n{sys.version}\n", fill)

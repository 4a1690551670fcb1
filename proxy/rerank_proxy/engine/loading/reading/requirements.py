"""Check the versions of packages that a checkpoint asks for."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from rerank_proxy.engine.errors import ModelLoadError

_RUN_HERE: Final = {"python": "python", "transformers": "transformers", "torch": "torch", "pytorch": "torch"}
"""The packages that run a model here, as `requirements` spells them. Others run it elsewhere."""


def check_requirements(directory: Path, requirements: Any) -> None:
    """Refuse a checkpoint whose `requirements` are not met, as sentence-transformers does.

    What cannot be read as a requirement is left out, as there (`check_version_requirements`).

    Raises:
        ModelLoadError: A package is too old or too new.
    """
    for name, wanted in (requirements if isinstance(requirements, dict) else {}).items():
        package = _RUN_HERE.get(name)
        specifier = wanted.get("specifier", "") if isinstance(wanted, dict) else wanted
        if package is None or not isinstance(specifier, str):
            continue
        have = ".".join(map(str, sys.version_info[:3])) if package == "python" else metadata.version(package)
        try:
            met = SpecifierSet(specifier, prereleases=True).contains(have)
        except InvalidSpecifier:
            continue
        if not met:
            raise ModelLoadError(
                f"[{directory}] needs {package}{specifier}, and {have} is installed; install that, or give "
                "another model"
            )

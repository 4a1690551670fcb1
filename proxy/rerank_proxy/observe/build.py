"""Which software this is: the proxy, Python, and the libraries that run models."""

import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from rerank_proxy import __version__

_LIBRARIES: Final = ("torch", "transformers", "onnxruntime")


@cache
def versions() -> dict[str, str]:
    """Return the version of the proxy, of Python, and of each library that is installed, by name.

    They are read from the packages' metadata: the process that asks imports none of the libraries.
    """
    return {"version": __version__, "python": platform.python_version(), **installed(_LIBRARIES)}


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of packages by their names, without those that are not installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an extra, or the project run from its files
            continue
    return found

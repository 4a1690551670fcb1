"""Which software this is: the proxy, Python, and the libraries that run models."""

import platform
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
    found = {"version": __version__, "python": platform.python_version()}
    libraries = {name: _version(name) for name in _LIBRARIES}
    return found | {name: number for name, number in libraries.items() if number is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

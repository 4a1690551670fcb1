"""Tell one version of the software from another, as far as it decides what models give."""

import hashlib
from pathlib import Path
from typing import Final

from rerank_proxy.observe.build import installed

_LIBRARIES: Final = ("numpy", "onnxruntime", "openvino", "tokenizers", "torch", "transformers")
_ENGINE: Final = Path(__file__).parents[1]


def software() -> str:
    """Return the versions of the libraries that compute outputs, and a digest of the engine's own code.

    The version of this package would not do: the code of a checkout changes under one version.
    """
    digest = hashlib.sha256()
    for path in sorted(_ENGINE.rglob("*.py")):
        digest.update(f"{path.relative_to(_ENGINE).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    versions = installed(_LIBRARIES)
    return " ".join([digest.hexdigest(), *(f"{name}={versions.get(name, 'none')}" for name in _LIBRARIES)])

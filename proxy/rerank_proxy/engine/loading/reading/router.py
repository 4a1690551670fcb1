"""Read router_config.json: which modules of sentence-transformers encode queries, and which encode texts."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.checkpoint_files import NEWER, check_keys
from rerank_proxy.engine.loading.reading.directory_check import read_json

NAMES: Final = ("Router", "Asym")
"""What versions of sentence-transformers call it."""

_FILE: Final = "router_config.json"
_SIDES: Final = ("query", "document")
_WITHOUT_EFFECT: Final = {"default_route", "allow_empty_key"}
"""Parameters for inputs of which it is not said whether they are queries or texts."""


class Routed(NamedTuple):
    """A module of one side: its type, and the path of its directory."""

    type: str
    path: str


class _Content(msgspec.Struct):
    """The file, as far as it matters here."""

    types: dict[str, str]
    structure: dict[str, list[str]]
    parameters: dict[str, Any] = {}


def read_router(directory: Path) -> tuple[list[Routed], list[Routed]]:
    """Return the modules of queries and those of texts.

    Raises:
        ModelLoadError: There are other sides, or it says something that is not understood.
    """
    path = directory / _FILE
    raw = read_json(path, dict[str, Any])
    content = read_json(path, _Content)
    if raw is None or content is None:
        raise ModelLoadError(f"[{directory}] has no {_FILE}, which says who encodes queries and who texts")
    check_keys(path, _FILE, raw)
    for key, value in content.parameters.items():
        if key not in _WITHOUT_EFFECT and value:
            raise ModelLoadError(f"[{path}] says [parameters] [{key}], which is not supported; {NEWER}")
    if content.structure.keys() != set(_SIDES):
        sides = ", ".join(sorted(content.structure))
        raise ModelLoadError(f"[{path}] has the routes [{sides}]; supported are {', '.join(_SIDES)}")
    unknown = [name for names in content.structure.values() for name in names if name not in content.types]
    if unknown:
        raise ModelLoadError(f"[{path}] names [{unknown[0]}], and does not say what that is")
    query, text = ([Routed(content.types[name], name) for name in content.structure[side]] for side in _SIDES)
    return query, text

"""The modules of sentence-transformers that a checkpoint consists of (modules.json)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import late_interaction
from rerank_proxy.engine.loading.reading.checkpoint_files import check_keys, check_names
from rerank_proxy.engine.loading.reading.directory_check import (
    check_inside,
    inspect,
    inspect_module,
    read_json,
)
from rerank_proxy.engine.loading.reading.late_interaction import Layout
from rerank_proxy.engine.loading.reading.router import NAMES as ROUTERS
from rerank_proxy.engine.loading.reading.router import read_router

_Object = dict[str, Any]

HEAD_MODULES: Final = ("Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
"""The modules of sentence-transformers that may follow its Transformer."""

_OF_PYLATE: Final = {"pylate.models.Dense.Dense": "Dense"}
"""Modules of PyLate that are those of sentence-transformers, but for their name."""

LOGIT_SCORE: Final = "LogitScore"
"""The module behind a Transformer that generates."""

SPLADE_POOLING: Final = "SpladePooling"
"""The module behind a Transformer that gives each token a logit for each term of the vocabulary."""

_ALONE: Final = (LOGIT_SCORE, SPLADE_POOLING)
"""Modules beside which there is only a Transformer."""

_STATIC: Final = "SparseStaticEmbedding"
"""The module that gives each token of a query a weight that is always the same."""

_TASKS: Final = {"Transformer": "feature-extraction", "MLMTransformer": "fill-mask"}
"""The first modules, and what each is for, unless its config says it."""

_MAX_MODULES: Final = 100


@dataclass(frozen=True, slots=True)
class HeadModule:
    """A module behind the transformer: its class name in sentence-transformers, its files, its config."""

    name: str
    directory: Path
    config: Mapping[str, Any]


class Modules(NamedTuple):
    """The modules of a checkpoint."""

    transformer: Path
    head: tuple[HeadModule, ...] = ()
    task: str = _TASKS["Transformer"]
    """What the transformer is for, unless its config says it."""
    queries: Path | None = None
    """The directory of a SparseStaticEmbedding, where one encodes the queries and the others only texts."""


class _Module(msgspec.Struct):
    """An entry of modules.json."""

    type: str
    path: str


def read_modules(directory: Path, layout: Layout | None) -> Modules:
    """Return the transformer's directory and the modules behind it: without modules.json the model itself.

    Args:
        layout: Of a late-interaction model.

    Raises:
        ModelLoadError: There are modules that are not known here, or not where they should be.
    """
    modules = read_json(directory / "modules.json", list[_Module])
    if not modules:
        return Modules(directory)
    if len(modules) == 1 and layout is None and _class_name(directory, modules[0]) in ROUTERS:
        return _routed(directory, directory / modules[0].path)
    return _split_modules(directory, modules, layout)


def _routed(directory: Path, path: Path) -> Modules:
    """Return the modules of texts, and that of queries."""
    check_inside(path, directory)
    query, text = ([_Module(each.type, each.path) for each in side] for side in read_router(path))
    names = [[_class_name(directory, each) for each in side] for side in (query, text)]
    if names[0] != [_STATIC] or names[1][1:] != [SPLADE_POOLING]:
        raise ModelLoadError(
            f"[{path}] has queries encoded by [{', '.join(names[0])}] and texts by [{', '.join(names[1])}]; "
            f"supported are {_STATIC}, and a transformer with {SPLADE_POOLING}"
        )
    static = path / query[0].path
    check_inside(static, directory)
    inspect(static, directory)
    config = read_json(static / "config.json", _Object) or {}
    check_keys(static / "config.json", f"N_{_STATIC}/config.json", config)
    if config.get("path") is not None:
        raise ModelLoadError(f"[{static}/config.json] names weights elsewhere ([path]); save them beside it")
    return _split_modules(path, text, None)._replace(queries=static)


def _split_modules(directory: Path, modules: "list[_Module]", layout: Layout | None) -> Modules:
    """Return the transformer's directory and the modules behind it."""
    if len(modules) > _MAX_MODULES:
        raise ModelLoadError(
            f"[{directory}]: its modules.json names {len(modules)} modules, more than any model has"
        )
    listed = [(_class_name(directory, each), directory / each.path) for each in modules]
    (first, transformer), *rest = listed
    for _, path in listed:
        check_inside(path, directory)
    supported = HEAD_MODULES if layout is None else late_interaction.MODULES
    alone = len(rest) == 1 and rest[0][0] in _ALONE
    unknown = [name for name, _ in rest if name not in supported and not alone]
    if first not in _TASKS or unknown:
        odd = first if first not in _TASKS else unknown[0]
        raise ModelLoadError(
            f"[{directory}]: its modules.json names [{odd}]; supported are Transformer followed by "
            f"{', '.join(supported)}, or by {' or '.join(_ALONE)} alone"
        )
    head = tuple(_head_module(name, path, directory, layout) for name, path in rest)
    return Modules(transformer, head, _TASKS[first])


def _head_module(name: str, path: Path, root: Path, layout: Layout | None) -> HeadModule:
    config = read_json(path / "config.json", _Object) or {}
    check_keys(path / "config.json", f"N_{name}/config.json", config)
    if name not in _ALONE and layout is None:  # Those of a late-interaction model are checked with it.
        check_names(path / "config.json", config)
    inspect_module(path, root)
    return HeadModule(name, path, config)


def _class_name(directory: Path, module: _Module) -> str:
    """Return the class name of a module of sentence-transformers."""
    if module.type in _OF_PYLATE:
        return _OF_PYLATE[module.type]
    package, _, name = module.type.rpartition(".")
    if package.partition(".")[0] != "sentence_transformers":
        raise ModelLoadError(
            f"[{directory}]: its modules.json needs Python code of its own ([{module.type}]), which is never "
            "run here; give a model of sentence-transformers' own modules"
        )
    return name

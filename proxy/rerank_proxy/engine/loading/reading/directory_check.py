"""Inspect a model's directory before anything in it is loaded: it must describe no more than is done.

Inspection is quick and needs little memory, no matter what is in the directory. What would lead the libraries
out of the directory, or have them run code, wait, or allocate memory unchecked is refused in one line; so is
what they would silently leave out.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import archives, model_files, safetensors_header
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN

_T = TypeVar("_T")

_MAX_ENTRIES: Final = 10_000
_MAX_SHARDS: Final = 1000
_MiB: Final = 1024 * 1024

_MAX_BYTES: Final[Mapping[str, int]] = {
    "*config*.json": 4 * _MiB,
    "modules.json": 1 * _MiB,
    "special_tokens_map.json": 4 * _MiB,
    "added_tokens.json": 4 * _MiB,
    "chat_template*": 1 * _MiB,
    "*.jinja": 1 * _MiB,
    "artifact.metadata": 1 * _MiB,
    "*.index.json": 16 * _MiB,
    "*.json": 128 * _MiB,
    "*.txt": 64 * _MiB,
    "*.model": 64 * _MiB,
}
"""By name; the first pattern that matches counts. Some four times the largest files of models in use."""

_WEIGHTS: Final = ("*.safetensors", "*.bin")
_MAX_WEIGHTS_BYTES: Final = 1024 * 1024 * _MiB

_ADAPTERS: Final = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_WITH_CODE: Final = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "generation_config.json",
)

_TEMPLATES: Final = "additional_chat_templates"

_MANY: Final = ("layer", "block", "group", "depth", "expert", "stage")
"""Words in the names of numbers that say how many modules there are …"""

_NOT_MANY: Final = ("dim", "size", "group_size")
"""… unless one of these is in the name, too."""

_MAX_MODULES: Final = 1024
_MAX_EXPERTS: Final = 32_768
"""Of all layers together."""

_MAX_LABELS: Final = 100_000
_MAX_DEPTH: Final = 16
_MAX_COMPUTED_POSITIONS: Final = 65_536


class _Index(msgspec.Struct):
    """An index of files of weights."""

    weight_map: dict[str, str]


def inspect(directory: Path, root: Path, *, trusted: bool = False) -> int:
    """Inspect all files that are read from a transformer's directory.

    Args:
        root: The model's directory: the same, or above.
        trusted: Code among the files may run.

    Returns:
        How many numbers its weights have.

    Raises:
        ModelLoadError: One line: what it asks for that is not done, or what is damaged.
    """
    entries = _entries(directory, root)
    for name in _ADAPTERS:
        if name in entries:
            raise ModelLoadError(
                f"[{directory}] holds an adapter ([{name}]), which is not applied here; merge it into the "
                "model (`merge_and_unload` of peft), and save that"
            )
    for name in _WITH_CODE:
        if name in entries:
            _check_description(entries[name], trusted=trusted)
    if "config.json" in entries:
        _check_numbers(entries["config.json"])
    if (directory / _TEMPLATES).exists():
        _entries(directory / _TEMPLATES, root)
    return _count_weights(directory, entries)


def inspect_module(directory: Path, root: Path) -> None:
    """Inspect the directory of a module behind a transformer, which need not be there.

    Raises:
        ModelLoadError: As `inspect`.
    """
    if directory.exists():
        _count_weights(directory, _entries(directory, root))


def check_inside(path: Path, root: Path) -> None:
    """Refuse a path that leads out of the directory of its model, itself or by a symbolic link.

    Raises:
        ModelLoadError: It does.
    """
    try:
        target, home = path.resolve(), root.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, a name with a zero byte
        raise ModelLoadError(f"[{path}] leads nowhere ({error}); {COPY_AGAIN}") from None
    if not target.is_relative_to(home) and target.parent != _hub_files(home):
        raise ModelLoadError(
            f"[{path}] leads out of the model's directory, to [{target}], which is not read; copy it there"
        )


def read_json(path: Path, kind: type[_T]) -> _T | None:
    """Return the content of a description; None if there is none.

    Raises:
        ModelLoadError: It cannot be read, or is too large.
    """
    try:
        return msgspec.json.decode(model_files.read(path, _MAX_BYTES["*config*.json"]), type=kind)
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error}); {COPY_AGAIN}") from error


def _hub_files(root: Path) -> Path:
    """Return where the hub's cache has the files that a snapshot links to."""
    return root.parent.parent / "blobs"


def _entries(directory: Path, root: Path) -> dict[str, Path]:
    """Return the files that are read, by name: those at the top of the directory."""
    check_inside(directory, root)
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, _MAX_ENTRIES + 1)]
    except OSError as error:
        raise ModelLoadError(f"[{directory}] cannot be read ({error.strerror}); {COPY_AGAIN}") from error
    if len(names) > _MAX_ENTRIES:
        raise ModelLoadError(
            f"[{directory}] has more than {_MAX_ENTRIES} files: it is not the directory of a model"
        )
    found = {name: directory / name for name in sorted(names) if _limit(name) is not None}
    for path in found.values():
        _check_file(path, root)
    return found


def _limit(name: str) -> int | None:
    """Return the most bytes of a file with this name; None for one that is not read."""
    path = Path(name)
    for pattern, limit in _MAX_BYTES.items():
        if path.match(pattern):
            return limit
    return _MAX_WEIGHTS_BYTES if any(path.match(pattern) for pattern in _WEIGHTS) else None


def _check_file(path: Path, root: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error.strerror}); {COPY_AGAIN}") from error
    model_files.check_regular(path, status)
    if stat.S_ISLNK(path.lstat().st_mode):
        check_inside(path, root)
    limit = _limit(path.name)
    if limit is not None and status.st_size > limit:
        raise ModelLoadError(f"[{path}] has {status.st_size} bytes; such a file has at most {limit}")


def _check_description(path: Path, *, trusted: bool) -> None:
    """Refuse code of the model's own unless it is trusted, and files and programs from elsewhere."""
    content = read_json(path, dict[str, Any]) or {}
    for values in _objects(path, content):
        named = next(_texts(values.get("auto_map") or ()), None)
        if named is not None and not trusted:
            raise ModelLoadError(
                f"[{path}] needs Python code of its own ([auto_map] names [{named}]), which is not run; read "
                "it and set the model's [trust_remote_code] if you trust it, or give a model of a class of "
                "transformers"
            )
        if named is not None and "--" in " ".join(_texts(values["auto_map"])):
            raise ModelLoadError(
                f"[{path}] needs Python code from elsewhere ([auto_map] names [{named}]), which is never "
                "run; copy it beside the model"
            )
        for key, value in values.items():
            if "attn_implementation" in key and any("/" in text for text in _texts(value)):
                raise ModelLoadError(
                    f"[{path}] names a program from elsewhere in [{key}], which is never run here"
                )
        weights = values.get("transformers_weights")
        if weights is not None and (not isinstance(weights, str) or Path(weights).name != weights):
            raise ModelLoadError(f"[{path}] names weights that are not beside it ([transformers_weights])")


def _objects(path: Path, value: Any) -> Iterator[dict[str, Any]]:
    """Yield an object and those in it, as deep as makes sense."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        yield from (each for each in level if isinstance(each, dict))
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ModelLoadError(f"[{path}] is nested more than {_MAX_DEPTH} levels deep: it is not that of a model")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _texts(child)


def _check_numbers(path: Path) -> None:
    """Refuse numbers for which a library would make too many modules, labels or tables before any weights."""
    for values in _objects(path, read_json(path, dict[str, Any]) or {}):
        for key, number in _counts(values).items():
            most = _MAX_LABELS if "label" in key else _MAX_MODULES
            if number > most:
                shown = f"{number}"[:20]
                raise ModelLoadError(f"[{path}] says [{key}]: {shown}; no model has more than {most}")
        layers, experts = (
            max((number for key, number in _counts(values).items() if word in key), default=1)
            for word in ("layer", "expert")
        )
        if layers * experts > _MAX_EXPERTS:
            raise ModelLoadError(f"[{path}] describes {layers * experts} experts; no model has so many")
        computed = any(key.startswith("sinusoidal") and value is True for key, value in values.items())
        positions = values.get("max_position_embeddings")
        if computed and isinstance(positions, int) and positions > _MAX_COMPUTED_POSITIONS:
            raise ModelLoadError(
                f"[{path}] says [max_position_embeddings]: {positions}; no model has so many"
            )


def _counts(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers that say how many there are of something; for a list its length."""
    numbers = {key: len(value) if isinstance(value, dict | list) else value for key, value in values.items()}
    return {
        key: number
        for key, number in numbers.items()
        if isinstance(number, int | float)
        and ("label" in key or any(word in key for word in _MANY))
        and not any(word in key for word in _NOT_MANY)
    }


def _count_weights(directory: Path, entries: Mapping[str, Path]) -> int:
    """Inspect each file of weights, those that an index names included. Return how many numbers they have."""
    for name, path in entries.items():
        if name.endswith(".index.json"):
            _check_index(directory, path)
    weights = [path for name, path in entries.items() if name.endswith((".safetensors", ".bin"))]
    if len(weights) > _MAX_SHARDS:
        raise ModelLoadError(
            f"[{directory}] has {len(weights)} files of weights; at most {_MAX_SHARDS} are read"
        )
    return sum(_count(path) for path in weights)


def _count(path: Path) -> int:
    if path.suffix == ".safetensors":
        return safetensors_header.count_weights(path)
    archives.check(path)
    return path.stat().st_size


def _check_index(directory: Path, path: Path) -> None:
    """Check that the files that an index names are beside it."""
    index = read_json(path, _Index)
    assert index is not None  # it was there when the directory was listed
    for name in sorted(set(index.weight_map.values())):
        if not name or Path(name).name != name or "\0" in name:
            raise ModelLoadError(
                f"[{path}] names weights that are not beside it ([{name}]), and no others are read; copy "
                "them there"
            )
        if _limit(name) is None or not (directory / name).is_file():
            raise ModelLoadError(f"[{directory}] lacks [{name}], which its index names; {COPY_AGAIN}")

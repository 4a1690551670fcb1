"""Find a model's ONNX file, and check what it refers to before ONNX Runtime opens it.

An ONNX file is a protocol buffer; its weights may lie in files that it names. Only as much of the format is
read here as is needed to find these names (source of the field numbers: `onnx.proto` of ONNX). Weights are
skipped, so that this takes milliseconds.
"""

from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Final

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import model_files
from rerank_proxy.engine.loading.reading.directory_check import check_inside
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN

PLACES: Final = ("onnx/model.onnx", "model.onnx")
"""Where a directory has the file: Optimum and sentence-transformers put it into `onnx`."""

_GiB: Final = 1024**3
_MAX_BYTES: Final = 2 * _GiB
"""Of the file itself: protocol buffers have no more."""

_MAX_DATA_BYTES: Final = 1024 * _GiB
_MAX_INSPECTED_BYTES: Final = 64 * 1024 * 1024
"""Of one message that is not weights."""

_MAX_DEPTH: Final = 16

_ENTRY_KEY: Final = 1
_ENTRY_VALUE: Final = 2

_FIELDS: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        10: "tensor",
        22: "sparse tensor",
        23: "sparse tensor",
        6: "graph",
        11: "graph",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""The fields of each message in which the name of a file may be, by number, and what they are."""


class _DamagedError(Exception):
    """The file is not a protocol buffer of ONNX."""


def find(directory: Path, root: Path) -> Path | None:
    """Return the ONNX file of a transformer's directory, or None if it has none.

    Args:
        root: The model's directory: the same, or above.

    Raises:
        ModelLoadError: It leads out of the model's directory.
    """
    for place in PLACES:
        path = directory / place
        if path.exists():
            check_inside(path.parent, root)
            check_inside(path, root)
            return path
    return None


def inspect(path: Path, root: Path) -> list[Path]:
    """Check a file and all files that it names. Return them, itself first.

    Raises:
        ModelLoadError: It is damaged or too large, or names a file that is not in the model's directory.
    """
    size = _size(path, _MAX_BYTES)
    try:
        with model_files.opened(path) as file:
            names = sorted(set(_locations(file, size, "model", 0)))
    except OSError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error.strerror}); {COPY_AGAIN}") from error
    except (_DamagedError, UnicodeDecodeError) as error:
        raise ModelLoadError(f"[{path}] is not an ONNX file, or damaged ({error}); {COPY_AGAIN}") from None
    return [path, *(_data_file(path, name, root) for name in names)]


def _data_file(path: Path, name: str, root: Path) -> Path:
    if not name or Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise ModelLoadError(
            f"[{path}] names weights that are not beside it ([{name}]), and no others are read; copy them "
            "there"
        )
    data = path.parent / name
    if not data.exists():
        raise ModelLoadError(f"[{path}] names weights that are not there ([{name}]); {COPY_AGAIN}")
    check_inside(data, root)
    _size(data, _MAX_DATA_BYTES)
    return data


def _size(path: Path, most: int) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error.strerror}); {COPY_AGAIN}") from error
    model_files.check_regular(path, status)
    if status.st_size > most:
        raise ModelLoadError(f"[{path}] has {status.st_size} bytes; such a file has at most {most}")
    return status.st_size


def _locations(file: BufferedReader, end: int, kind: str, depth: int) -> Iterator[str]:
    """Yield the names of files in a message that ends at `end`."""
    if depth > _MAX_DEPTH:
        raise _DamagedError(f"nested more than {_MAX_DEPTH} levels deep")
    if kind == "entry":
        yield from _location(file, end)
        return
    for number, length in _fields(file, end):
        inner = _FIELDS[kind].get(number)
        after = file.tell() + length
        if inner is not None:
            yield from _locations(file, after, inner, depth + 1)
        file.seek(after)


def _location(file: BufferedReader, end: int) -> Iterator[str]:
    texts = {}
    for number, length in _fields(file, end):
        if length > _MAX_INSPECTED_BYTES:
            raise _DamagedError("a name of some megabytes")
        texts[number] = file.read(length).decode()
    if texts.get(_ENTRY_KEY) == "location":
        yield texts.get(_ENTRY_VALUE, "")


def _fields(file: BufferedReader, end: int) -> Iterator[tuple[int, int]]:
    """Yield the numbers and lengths of a message's fields that are bytes. The file is at these then."""
    while file.tell() < end:
        tag = _varint(file)
        number, wire = tag >> 3, tag & 7
        match wire:
            case 0:
                _varint(file)
            case 1:
                file.seek(8, 1)
            case 2:
                length = _varint(file)
                if file.tell() + length > end:
                    raise _DamagedError("it is cut short")
                yield number, length
            case 5:
                file.seek(4, 1)
            case _:
                raise _DamagedError(f"a field of the unknown kind {wire}")
    if file.tell() != end:
        raise _DamagedError("a field leads out of its message")


def _varint(file: BufferedReader) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise _DamagedError("it is cut short")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _DamagedError("a number of more than ten bytes")

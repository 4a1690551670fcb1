"""Check the header of a safetensors file before memory is allocated for what it describes."""

import struct
from pathlib import Path
from typing import Final

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import model_files

_MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
"""Enough for some 100,000 tensors."""

_LENGTH: Final = struct.Struct("<Q")
_NOT_A_TENSOR: Final = "__metadata__"


class _Tensor(msgspec.Struct):
    shape: list[int]
    data_offsets: tuple[int, int]


def count_weights(path: Path) -> int:
    """Count the numbers of all tensors in the file.

    Raises:
        ModelLoadError: The header is damaged, too large, or does not fit the file.
    """
    with model_files.opened(path) as file:
        size = path.stat().st_size
        start = file.read(_LENGTH.size)
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
        if length > _MAX_HEADER_BYTES:
            raise ModelLoadError(f"[{path}] has a header of {length} bytes, more than any model's")
        header = file.read(length)
    if len(header) < max(length, 2):
        raise _cut_short(path)
    tensors = _tensors(path, header)
    end = max((tensor.data_offsets[1] for tensor in tensors), default=0)
    if _LENGTH.size + length + end > size:
        raise _cut_short(path)
    count = 0
    for tensor in tensors:
        numbers = 1
        for dimension in tensor.shape:
            numbers *= dimension
        count += max(0, min(numbers, 2 * size))  # no type has fewer than four bits
    return count


def _tensors(path: Path, header: bytes) -> list[_Tensor]:
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        entries.pop(_NOT_A_TENSOR, None)
        return [msgspec.json.decode(entry, type=_Tensor) for entry in entries.values()]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelLoadError(f"[{path}] has a damaged header ({error}); {model_files.COPY_AGAIN}") from None


def _cut_short(path: Path) -> ModelLoadError:
    return ModelLoadError(f"[{path}] is cut short; {model_files.COPY_AGAIN}")

"""Keys and values of the shared cache, as bytes. Pure.

A value is a byte with the version, a byte with flags, a byte with the number of dimensions, each dimension as
four bytes, the numbers as float32, and a digest of all this and of the key; everything little-endian. So a
value that was cut, damaged, or is that of another key is not taken for an output.
"""

import math
import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import numpy as np

from rerank_proxy.engine.rows import Output

FORMAT: Final = 1
"""Counted up with every change of keys or values."""

_TRUNCATED: Final = 1
_MOST_DIMENSIONS: Final = 3
"""Of an `Output`."""
_HEAD: Final = struct.Struct("<BBB")
_SIZE_BYTES: Final = 4
_NUMBER: Final = np.dtype("<f4")
_DIGEST_BYTES: Final = 8
_MODEL_BYTES: Final = 16


def key_prefix(prefix: str, software: str, info: Mapping[str, str]) -> bytes | None:
    """Return what the keys of a model's outputs begin with.

    Args:
        software: What computes the outputs: with other code or other libraries they may be others.
        info: Of the model: its fingerprint stands for its files and settings. Devices differ in rounding, so
            that the kind of device counts.

    Returns:
        None for a model without a fingerprint.
    """
    fingerprint = info.get("fingerprint")
    if not fingerprint:
        return None
    device = info.get("device", "").partition(":")[0]
    parts = (software, fingerprint, info.get("precision", ""), device)
    model = blake2b("\0".join(parts).encode(), digest_size=_MODEL_BYTES).hexdigest()
    return f"{prefix}:{FORMAT}:{model}:".encode()


def encode(key: bytes, output: Output) -> bytes:
    """Return an output as the value of this key."""
    values = np.ascontiguousarray(output.values, _NUMBER)
    head = _HEAD.pack(FORMAT, _TRUNCATED if output.truncated else 0, values.ndim)
    body = head + struct.pack(f"<{values.ndim}I", *values.shape) + values.tobytes()
    return body + _digest(key, body)


def decode(key: bytes, value: bytes) -> Output | None:
    """Return the output that is the value of this key; None if it is not one that `encode` has made of it."""
    body, digest = value[:-_DIGEST_BYTES], value[-_DIGEST_BYTES:]
    if len(body) < _HEAD.size or digest != _digest(key, body):
        return None
    version, flags, dimensions = _HEAD.unpack_from(body)
    start = _HEAD.size + dimensions * _SIZE_BYTES
    if version != FORMAT or not 1 <= dimensions <= _MOST_DIMENSIONS or len(body) < start:
        return None
    shape = struct.unpack_from(f"<{dimensions}I", body, _HEAD.size)
    if len(body) - start != math.prod(shape) * _NUMBER.itemsize:
        return None
    values = np.frombuffer(bytearray(body[start:]), _NUMBER).astype(np.float32, copy=False).reshape(shape)
    return Output(values, bool(flags & _TRUNCATED)) if np.isfinite(values).all() else None


def _digest(key: bytes, body: bytes) -> bytes:
    digest = blake2b(len(key).to_bytes(_SIZE_BYTES, "little"), digest_size=_DIGEST_BYTES)
    digest.update(key)
    digest.update(body)
    return digest.digest()

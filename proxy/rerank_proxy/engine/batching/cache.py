"""Outputs of a model, remembered by what went in."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

_DIGEST_BYTES = 16
_FLOATS_PER_ENTRY = 64
"""A score's key and bookkeeping take some 250 bytes, which is the room of 64 float32."""


class Output(NamedTuple):
    """What a model made of one input: float32 of shape (1,) for a logit, (dimensions,) for an embedding."""

    values: NDArray[np.float32]
    truncated: bool


class OutputCache:
    """The outputs used last. Holds digests instead of texts, so that its memory is bounded by `entries`.

    An embedding of many dimensions counts as several entries.
    """

    def __init__(self, entries: int) -> None:
        self._outputs: LRUCache[bytes, Output] = LRUCache(entries, getsizeof=_size_entries)

    def get(self, key: bytes) -> Output | None:
        return self._outputs.get(key)

    def put(self, key: bytes, output: Output) -> None:
        if _size_entries(output) <= self._outputs.maxsize:
            self._outputs[key] = output

    @property
    def size_entries(self) -> int:
        return int(self._outputs.currsize)


def _size_entries(output: Output) -> int:
    return -(-output.values.size // _FLOATS_PER_ENTRY)


def keys(fingerprint: str, context: str, texts: Sequence[str]) -> list[bytes]:
    """A key per text: 16 bytes of BLAKE2b over model fingerprint, `context` and text.

    `context` is what the output depends on besides model and text: a cross-encoder's query, the role of a
    bi-encoder's text. Lengths come first, so that no two inputs run together the same way. 128 bits make an
    accidental collision as good as impossible.
    """
    prefix = blake2b(digest_size=_DIGEST_BYTES)
    for part in (fingerprint, context):
        encoded = part.encode()
        prefix.update(len(encoded).to_bytes(8, "big"))
        prefix.update(encoded)
    digests = []
    for text in texts:
        digest = prefix.copy()
        digest.update(text.encode())
        digests.append(digest.digest())
    return digests

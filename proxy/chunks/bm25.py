"""Lucene's ``BM25Similarity`` over the chunks of one text, in the float arithmetic of Java."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_K1: Final = np.float32(1.2)
_B: Final = np.float32(0.75)
_ONE: Final = np.float32(1)

_FREE_LENGTHS: Final = 24
"""Lengths below are kept as they are (``SmallFloat#intToByte4``)."""


Floats = NDArray[np.float32]


def scores(query: Mapping[str, int], chunks: Sequence[Sequence[str]]) -> Floats:
    """One score per chunk for the query's terms, joined by OR; 0 where none of them occurs.

    Args:
        query: How often each term occurs in the query text, which is its boost.
        chunks: The terms of each chunk.
    """
    counts = [Counter(term for term in chunk if term in query) for chunk in chunks]
    found = Counter(term for count in counts for term in count)
    if not found:
        return np.zeros(len(chunks), np.float32)
    lengths = [len(chunk) for chunk in chunks]
    filled = sum(map(bool, lengths))  # a chunk without terms does not count as having the field
    weights = np.array([query[term] * _idf(filled, found[term]) for term in found], np.float32)
    frequencies = np.array([[count[term] for term in found] for count in counts], np.float32)
    average = np.float32(sum(lengths) / filled)
    matches: Floats = _ONE + frequencies * _inverse_norms(lengths, average)[:, np.newaxis]
    each: Floats = weights - weights / matches
    total: NDArray[np.float64] = each.sum(axis=1, dtype=np.float64)
    return total.astype(np.float32)


def _idf(chunks: int, having_term: int) -> np.float32:
    return np.float32(math.log(1 + (chunks - having_term + 0.5) / (having_term + 0.5)))


def _inverse_norms(lengths: Sequence[int], average: np.float32) -> Floats:
    """What a frequency is multiplied with: the less, the longer the chunk is beside the others."""
    stored = np.array([_stored_length(length) for length in lengths], np.float32)
    norms: Floats = _ONE / (_K1 * ((_ONE - _B) + _B * stored / average))
    return norms


def _stored_length(length: int) -> int:
    """A length as it comes back from the one byte of a norm: exact to four significant bits."""
    if length < _FREE_LENGTHS:
        return length
    beyond = length - _FREE_LENGTHS
    lost_bits = max(beyond.bit_length() - 4, 0)
    return _FREE_LENGTHS + (beyond >> lost_bits << lost_bits)

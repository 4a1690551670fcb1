"""Lucene's ``BM25Similarity`` over the chunks of one text, in the float arithmetic of Java."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.concurrency.steps import Steps, gather

_K1: Final = np.float32(1.2)
_B: Final = np.float32(0.75)
_ONE: Final = np.float32(1)

_FREE_LENGTHS: Final = 24
"""Smaller lengths are stored exactly (``SmallFloat#intToByte4``)."""


Floats = NDArray[np.float32]


def scores(query: Mapping[str, int], chunks: Sequence[Sequence[str]]) -> Steps[Floats]:
    """Return one score per chunk for the query's terms, joined by OR; 0 where none of them occurs.

    Args:
        query: How often each term occurs in the query text, which is its boost.
        chunks: The terms of each chunk.
    """
    counts: list[Counter[str]] = []
    nothing: Counter[str] = (
        Counter()
    )  # one for all chunks without a match: each container costs the garbage collector time
    found: Counter[str] = Counter()
    for chunk in chunks:
        having = [term for term in chunk if term in query]
        counts.append(Counter(having) if having else nothing)
        found.update(counts[-1].keys())
        yield
    if not found:
        return np.zeros(len(chunks), np.float32)
    lengths = [len(chunk) for chunk in chunks]
    filled = sum(map(bool, lengths))  # a chunk without terms does not count as having the field
    stored = yield from gather(map(_stored_length, lengths))
    norms = _inverse_norms(stored, np.float32(sum(lengths) / filled))
    weight_of = {term: query[term] * _idf(filled, number) for term, number in found.items()}
    # One entry for each term of each chunk: a matrix of all terms and chunks would be too large.
    places = np.repeat(np.arange(len(chunks)), [len(count) for count in counts])
    weights = np.array((yield from gather(map(weight_of.__getitem__, chain(*counts)))), np.float32)
    numbers = chain.from_iterable(count.values() for count in counts)
    frequencies = np.array((yield from gather(numbers)), np.float32)
    matches: Floats = _ONE + frequencies * norms[places]
    each: Floats = weights - weights / matches
    return np.bincount(places, each.astype(np.float64), len(chunks)).astype(np.float32)


def _idf(chunks: int, having_term: int) -> np.float32:
    return np.float32(math.log(1 + (chunks - having_term + 0.5) / (having_term + 0.5)))


def _inverse_norms(stored: Sequence[int], average: np.float32) -> Floats:
    """Return the factor of a frequency: the longer a chunk beside the others, the smaller."""
    norms: Floats = _ONE / (_K1 * ((_ONE - _B) + _B * np.array(stored, np.float32) / average))
    return norms


def _stored_length(length: int) -> int:
    """Return a length as read back from the single byte of a norm: exact to four significant bits."""
    if length < _FREE_LENGTHS:
        return length
    beyond = length - _FREE_LENGTHS
    lost_bits = max(beyond.bit_length() - 4, 0)
    return _FREE_LENGTHS + (beyond >> lost_bits << lost_bits)

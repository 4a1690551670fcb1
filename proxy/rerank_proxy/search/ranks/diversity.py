"""Maximal marginal relevance: choose documents that are near the query and far from one another."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.ranks.scores import Float32s

Vector = Sequence[float]
_Vectors = npt.NDArray[np.float64]


def diversify(
    docs: Sequence[RankDoc],
    vectors: Sequence[Vector | None],
    query_vector: Vector | None,
    lambda_: float,
    size: int,
) -> list[RankDoc]:
    """Choose up to `size` documents, one by one (``MMRResultDiversification``).

    The first is the document nearest to the query. Each further one has the highest
    ``lambda * similarity to the query - (1 - lambda) * similarity to the nearest chosen document``. Among
    equal ones the first in the window is chosen, so that without a query vector the choice begins with the
    best document. Documents without a vector are never chosen.

    Args:
        docs: The window, in its order.
        vectors: The vector of each document.
        query_vector: The vector of the query; None if there is none, so that only distances count.
        lambda_: The weight of the similarity to the query, from 0 to 1.

    Returns:
        The chosen documents, unchanged and in the order of the window.

    Raises:
        ValueError: Vectors differ in their dimensions; the message is native's.
    """
    places = [place for place, vector in enumerate(vectors) if vector]
    if not places:
        return []
    present = [vectors[place] or () for place in places]
    _check_dimensions(present, query_vector or present[0])
    matrix = _exact(present)
    relevance = np.zeros(len(present), dtype=np.float32)
    if query_vector is not None:
        relevance = _similarities(matrix, _exact(query_vector))
    chosen = _chosen(matrix, relevance, np.float32(lambda_), min(size, len(present)))
    return [docs[places[row]] for row in sorted(chosen)]


def _check_dimensions(vectors: Sequence[Vector], expected: Vector) -> None:
    for vector in vectors:
        if len(vector) != len(expected):
            raise ValueError(f"vector dimensions differ: {len(vector)}!={len(expected)}")


def _chosen(matrix: _Vectors, relevance: Float32s, weight: np.float32, size: int) -> list[int]:
    chosen = [int(relevance.argmax())]
    nearest = np.full(len(matrix), -np.inf, dtype=np.float32)
    while len(chosen) < size:
        nearest = np.maximum(nearest, _similarities(matrix, matrix[chosen[-1]]))
        marginal = weight * relevance - (np.float32(1) - weight) * nearest
        marginal[chosen] = -np.inf
        chosen.append(int(marginal.argmax()))
    return chosen


def _similarities(matrix: _Vectors, vector: _Vectors) -> Float32s:
    """Return Lucene's ``MAXIMUM_INNER_PRODUCT`` of each row with the vector.

    Lucene adds up in single precision, in an order that depends on the processor; double precision is nearest
    to all of the results.
    """
    # Computed row by row, so that equal vectors have equal products: `@` may add up rows in different orders.
    products: Float32s = np.vecdot(matrix, vector).astype(np.float32)
    above = np.maximum(products, np.float32(0)) + np.float32(1)
    below = np.float32(1) / (np.float32(1) - np.minimum(products, np.float32(0)))
    return np.where(products < 0, below, above)


def _exact(numbers: Sequence[Vector] | Vector) -> _Vectors:
    """Return numbers as a `dense_vector` holds them, in single precision, converted to double."""
    return np.array(numbers, dtype=np.float32).astype(np.float64)

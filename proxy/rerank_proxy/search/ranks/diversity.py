"""Maximal marginal relevance: documents near the query and far from one another."""

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

    The first is the one nearest to the query; each further one has the highest
    ``lambda * similarity to the query - (1 - lambda) * similarity to the nearest that was chosen``. Among
    equals the one that stands first wins, so that without a query vector the choice begins with the best
    document. Those without a vector are never chosen.

    Args:
        docs: The window, in its order.
        vectors: The vector of each.

    Returns:
        The chosen ones as they were, in the window's order.

    Raises:
        ValueError: Vectors differ in their dimensions; in native's words.
    """
    places = [place for place, vector in enumerate(vectors) if vector]
    if not places:
        return []
    found = [vectors[place] or () for place in places]
    _check_dimensions(found, query_vector or found[0])
    matrix = _exact(found)
    relevance = np.zeros(len(found), dtype=np.float32)
    if query_vector is not None:
        relevance = _similarities(matrix, _exact(query_vector))
    chosen = _chosen(matrix, relevance, np.float32(lambda_), min(size, len(found)))
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
    """Lucene's ``MAXIMUM_INNER_PRODUCT`` of each row with the vector.

    Lucene's single precision sums depend on the processor; double precision is nearest to all of them.
    """
    # Row by row, so that equal vectors have equal products; `@` may add up some rows in another order.
    products: Float32s = np.vecdot(matrix, vector).astype(np.float32)
    above = np.maximum(products, np.float32(0)) + np.float32(1)
    below = np.float32(1) / (np.float32(1) - np.minimum(products, np.float32(0)))
    return np.where(products < 0, below, above)


def _exact(numbers: Sequence[Vector] | Vector) -> _Vectors:
    """Numbers that a `dense_vector` holds in single precision."""
    return np.array(numbers, dtype=np.float32).astype(np.float64)

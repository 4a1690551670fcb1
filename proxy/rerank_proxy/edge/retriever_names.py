"""Retrievers that no Elasticsearch has: their names may be misspelt, and the application knows how.

Only the plain spelling is looked at: what is missed gets an answer without a suggestion.
"""

import re
from typing import Final

NATIVE: Final = (
    "diversify",
    "knn",
    "linear",
    "pinned",
    "random_reranker",
    "rescorer",
    "rrf",
    "rule",
    "standard",
    "text_similarity_reranker",
)
"""Those of a complete Elasticsearch."""

_odd: Final = re.compile(
    rb'"retriever"\s{0,99}:\s{0,99}\{\s{0,99}"(?!(?:%b)")([A-Za-z0-9_.-]{1,64})"' % "|".join(NATIVE).encode()
)


def odd_names(text: bytes | bytearray) -> frozenset[str]:
    """Return the names that stand in the place of a retriever's and are none."""
    return frozenset(name.decode() for name in _odd.findall(text)) if b'"retriever"' in text else frozenset()

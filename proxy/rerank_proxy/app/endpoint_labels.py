"""The values of the labels `endpoint` and `model`: few, although clients create endpoints."""

from collections.abc import Callable
from typing import Final

from rerank_proxy.observe.outcome import NOT_LOOKED_UP, Applied, Skipped

MOST: Final = 100
"""Endpoints with labels of their own. Each has some twenty series."""

OTHER: Final = "other"

Labels = tuple[str, str]
"""The id of an endpoint, and its model."""


class EndpointLabels:
    """Gives the first endpoints that are used labels of their own, until they are deleted.

    Args:
        forget: Called with labels whose series are no longer wanted.
    """

    def __init__(self, forget: Callable[[Labels], None]) -> None:
        self._forget = forget
        self._models: dict[str, set[str]] = {}
        self._pairs = 0

    def of(self, reranker: Applied | Skipped) -> Labels:
        """Return the labels for an outcome; both are `none` where the endpoint was not found or looked up."""
        if reranker.model is None or (isinstance(reranker, Applied) and reranker.model == NOT_LOOKED_UP):
            return NOT_LOOKED_UP, NOT_LOOKED_UP
        return self.for_pair(reranker.endpoint, reranker.model)

    def for_pair(self, endpoint: str, model: str) -> Labels:
        """Return the labels for an endpoint that exists and its model."""
        if model not in self._models.get(endpoint, ()):
            if self._pairs >= MOST:
                return OTHER, OTHER
            self._models.setdefault(endpoint, set()).add(model)
            self._pairs += 1
        return endpoint, model

    def gone(self, endpoint: str) -> None:
        """Forget an endpoint that was deleted: its id may be one of many that come and go."""
        for model in self._models.pop(endpoint, ()):
            self._pairs -= 1
            self._forget((endpoint, model))
